//! The files of the image: the binary, whom it trusts, and who it runs as. There is nothing else in it, no shell either.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The operator, where the chart's Deployment expects nothing but the image's entry point.
pub const BINARY: &str = "amishare";
/// Where rustls-native-certs looks without `SSL_CERT_FILE`, as OpenSSL on Debian does.
pub const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";
/// Kubernetes does not need it; whoever looks at processes or runs the image by hand reads a name.
pub const PASSWD: &str = "etc/passwd";

const NOBODY: &str = "nonroot:x:65532:65532:nonroot:/nonexistent:/nonexistent\n";

/// Every file and its permissions.
pub const FILES: [(&str, u32); 3] = [(BINARY, 0o755), (PASSWD, 0o644), (ROOTS, 0o644)];

/// Lays out the files in a directory that is empty or does not exist.
pub fn lay_out(binary: &Path, into: &Path) -> Result<()> {
    let full = fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some());
    anyhow::ensure!(!full, "{} is not empty", into.display());
    for (path, mode) in FILES {
        let target = into.join(path);
        if let Some(parent) = target.parent() {
            create_dir(parent).with_context(|| format!("could not create {}", parent.display()))?;
        }
        match path {
            BINARY => fs::copy(binary, &target).map(drop),
            PASSWD => fs::write(&target, NOBODY),
            _ => fs::write(&target, roots()),
        }
        .and_then(|()| fs::set_permissions(&target, Permissions::from_mode(mode)))
        .with_context(|| format!("could not write {}", target.display()))?;
    }
    Ok(())
}

/// Everybody may enter, whatever the umask is.
fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Mozilla's certificate authorities in PEM.
fn roots() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = BASE64_STANDARD.encode(certificate.as_ref());
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            // Base64 is ASCII, and writing to a String cannot fail.
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// The files and directories below a directory, in order, by their paths in it.
pub fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("could not read {}", next.display()))? {
            let path = entry?.path();
            if path.symlink_metadata()?.is_dir() {
                open.push(path.clone());
            }
            found.push(path.strip_prefix(root)?.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_but_the_binary_whom_it_trusts_and_who_it_runs_as() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, root) = (folder.path().join("some-binary"), folder.path().join("rootfs"));
        fs::write(&binary, "elf").unwrap();
        lay_out(&binary, &root).unwrap();
        let files: Vec<_> = walk(&root).unwrap().into_iter().filter(|path| root.join(path).is_file()).collect();
        assert_eq!(files, [BINARY, PASSWD, ROOTS].map(PathBuf::from));
        assert_eq!(fs::read(root.join(BINARY)).unwrap(), b"elf");
        for (path, mode) in FILES {
            assert_eq!(fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777, mode, "{path}");
        }
        let again = lay_out(&binary, &root).unwrap_err();
        assert!(again.to_string().contains("is not empty"), "an old file would stay: {again}");
    }

    #[test]
    fn the_roots_are_whole_certificates_and_among_them_that_of_aws() {
        let pem = roots();
        let bodies: Vec<&str> = pem.split("-----BEGIN CERTIFICATE-----\n").skip(1).collect();
        assert!(bodies.len() > 100, "{}", bodies.len());
        let mut amazon = 0;
        for body in bodies {
            let text = body.strip_suffix("-----END CERTIFICATE-----\n").unwrap().replace('\n', "");
            let der = BASE64_STANDARD.decode(text).unwrap();
            // A sequence with a length of two bytes, which is that of the rest.
            assert_eq!((der[0], der[1], usize::from(der[2]) << 8 | usize::from(der[3])), (0x30, 0x82, der.len() - 4));
            amazon += usize::from(der.windows(16).any(|part| part == b"Amazon Root CA 1"));
        }
        assert_eq!(amazon, 1);
    }
}
