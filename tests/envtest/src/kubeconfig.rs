//! Kubeconfig files: whole in themselves, so that they can be copied.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::certificates::Pair;
use crate::files::write_private;

/// Who the holder of a kubeconfig is.
pub(crate) enum Identity<'a> {
    Token(&'a str),
    Certificate(&'a Pair),
}

/// Writes a kubeconfig. JSON is YAML, so every client reads it.
pub(crate) fn write(path: &Path, url: &str, authority: &str, identity: &Identity<'_>) -> Result<()> {
    let user = match identity {
        Identity::Token(token) => json!({ "token": token }),
        Identity::Certificate(pair) => json!({
            "client-certificate-data": BASE64_STANDARD.encode(&pair.certificate),
            "client-key-data": BASE64_STANDARD.encode(&pair.key),
        }),
    };
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "envtest",
            "cluster": { "server": url, "certificate-authority-data": BASE64_STANDARD.encode(authority) },
        }],
        "users": [{ "name": "envtest", "user": user }],
        "contexts": [{ "name": "envtest", "context": { "cluster": "envtest", "user": "envtest" } }],
        "current-context": "envtest",
    });
    write_private(path, &format!("{config:#}\n"))
}
