//! Kubeconfig files: whole in themselves, so that they can be copied; and kubectl with one.

use std::path::Path;
use std::process::Command;

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

/// kubectl with a kubeconfig and nothing of the user's. Its cache is in `dir`, and not in the home directory.
pub(crate) fn kubectl(program: &Path, kubeconfig: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", dir.join("kubectl-cache"))
        .env("KUBERC", "off")
        .env("LC_ALL", "C");
    command
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
