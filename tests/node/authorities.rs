//! Whom the image trusts, and how that is changed.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    cluster::on_cluster,
    release::{A, NAME, OTHER, Release},
};

/// Serves the simulated AWS over TLS, too, with a certificate that only itself vouches for: its port, and the certificate.
async fn over_tls(release: &Release) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([release.cluster.address.to_string()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let (acceptor, plain) = (TlsAcceptor::from(Arc::new(config)), release.plain());
    let listener = TcpListener::bind(SocketAddr::from((plain.ip(), 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends here.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut aws = TcpStream::connect(plain).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut aws).await;
            });
        }
    });
    (port, certificate.pem())
}

#[test]
fn an_authority_that_is_mounted_is_trusted_and_without_it_nobody_is_asked() {
    on_cluster("SSL_CERT_FILE names another authority", async |release| {
        let (port, authority) = over_tls(&release).await;
        let endpoint = format!("--set=aws.endpointUrl=https://{}", SocketAddr::from((release.cluster.address, port)));
        release.install(&[&endpoint]);
        release.share("far", OTHER, &[A]);
        let message = release.wait_ready("far", "False", "AwsUnavailable").await;
        assert!(message.contains("certificate"), "{message}");
        assert_eq!(release.aws.calls().len(), 0, "not even credentials were sent to whoever that was");

        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "company-authorities", "namespace": NAME},
            "data": {"ca.crt": authority},
        });
        release.apply(&map);
        let environment = json!([
            {"name": "AWS_ACCESS_KEY_ID", "value": "999988887777"},
            {"name": "AWS_SECRET_ACCESS_KEY", "value": "secret"},
            {"name": "SSL_CERT_FILE", "value": "/etc/company/ca.crt"},
        ]);
        release
            .upgrade(&[
                &endpoint,
                r#"--set-json=extraVolumes=[{"name":"authorities","configMap":{"name":"company-authorities"}}]"#,
                r#"--set-json=extraVolumeMounts=[{"name":"authorities","mountPath":"/etc/company","readOnly":true}]"#,
                &format!("--set-json=extraEnv={environment}"),
            ])
            .unwrap();
        release.wait_ready("far", "True", "Synced").await;
        release.wait_holders(OTHER, &[A]).await;
    });
}
