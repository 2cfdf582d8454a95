//! The credentials of one control plane: an authority, what it signs, the service account key and the admin's token.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::files::write_private;

/// A certificate and its private key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Signs the API server's certificate and those of users, and lives as long as the control plane.
pub(crate) struct Authority {
    /// The authority's own certificate, in PEM.
    pub(crate) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("envtest", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("could not make the certificate authority")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The API server's certificate, for these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: to Kubernetes, its common name is the user and its organisation the group.
    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).context("could not sign a certificate")?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn name(common: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common);
    name
}

/// Writes the files that the servers read, and returns the authority and the admin's token.
pub(crate) fn write(dir: &Path) -> Result<(Authority, String)> {
    let authority = Authority::new()?;
    write_private(&dir.join("ca.crt"), &authority.certificate)?;
    let server = authority.server(&["127.0.0.1", "localhost"])?;
    write_private(&dir.join("apiserver.crt"), &server.certificate)?;
    write_private(&dir.join("apiserver.key"), &server.key)?;
    let service_accounts = KeyPair::generate()?;
    write_private(&dir.join("sa.key"), &service_accounts.serialize_pem())?;
    write_private(&dir.join("sa.pub"), &service_accounts.public_key_pem())?;
    let token = token()?;
    write_private(&dir.join("tokens.csv"), &format!("{token},admin,admin,\"system:masters\"\n"))?;
    Ok((authority, token))
}

/// 32 random bytes.
pub(crate) fn token() -> Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gave no random numbers")?;
    Ok(hex(&bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_a_token_of_its_own() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
