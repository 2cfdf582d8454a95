//! The files of a node: configuration, keys, tokens, and the image of the process that holds a pod's namespaces.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use packer::dockerfile::Settings;
use packer::oci;
use rcgen::KeyPair;

use super::{ADDRESS, API_SERVICE, PODS};
use crate::certificates::{Authority, token};
use crate::files::write_private;
use crate::go::NodeAssets;
use crate::kubeconfig::{self, Identity};

const FILES: [(&str, &str); 4] = [
    ("containerd.toml", include_str!("../../node/containerd.toml")),
    ("kubelet.yaml", include_str!("../../node/kubelet.yaml")),
    ("cni/pods.conflist", include_str!("../../node/cni.conflist")),
    ("Corefile", include_str!("../../node/Corefile")),
];

/// Who asks the API server: the file of each, the user's name and group. CoreDNS is the administrator here.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("kubelet", "system:node:node1", "system:nodes"),
];

/// Writes everything into the directory of the node, and returns the administrator's kubeconfig.
pub(super) fn write(dir: &Path, cgroup: &str, more: &NodeAssets, runc: &Path) -> Result<PathBuf> {
    let (run, node, runc) = (dir.display().to_string(), more.node.display().to_string(), runc.display().to_string());
    let values = [
        ("@RUN@", run.as_str()),
        ("@NODE@", &node),
        ("@RUNC@", &runc),
        ("@CGROUP@", cgroup),
        ("@ADDRESS@", ADDRESS),
        ("@PODS@", PODS),
    ];
    fs::create_dir(dir.join("cni"))?;
    for (name, text) in FILES {
        let text = values.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value));
        write_private(&dir.join(name), &text)?;
    }
    // Nobody answers there: only the cluster's own names are known, to pods.
    fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;

    let authority = Authority::new()?;
    write_private(&dir.join("ca.crt"), &authority.certificate)?;
    let names = [ADDRESS, API_SERVICE, "127.0.0.1", "kubernetes.default.svc", "kubernetes"];
    for (name, pair) in [
        ("apiserver", authority.server(&names)?),
        ("kubelet-client", authority.client("kube-apiserver", Some("system:masters"))?),
    ] {
        write_private(&dir.join(format!("{name}.crt")), &pair.certificate)?;
        write_private(&dir.join(format!("{name}.key")), &pair.key)?;
    }
    let service_accounts = KeyPair::generate()?;
    write_private(&dir.join("sa.key"), &service_accounts.serialize_pem())?;
    write_private(&dir.join("sa.pub"), &service_accounts.public_key_pem())?;

    let url = format!("https://{ADDRESS}");
    let mut tokens = String::new();
    for (file, user, group) in USERS {
        let token = token()?;
        // Writing to a String cannot fail.
        let _ = writeln!(tokens, "{token},{user},{file},\"{group}\"");
        let path = dir.join(format!("{file}.kubeconfig"));
        kubeconfig::write(&path, &url, &authority.certificate, &Identity::Token(&token))?;
    }
    write_private(&dir.join("tokens.csv"), &tokens)?;
    Ok(dir.join("admin.kubeconfig"))
}

/// Packs the image of the process that holds a pod's namespaces.
pub(super) fn pause(dir: &Path, more: &NodeAssets) -> Result<PathBuf> {
    let (root, archive) = (dir.join("pause"), dir.join("pause.tar"));
    fs::create_dir(&root)?;
    fs::copy(more.node.join("pause"), root.join("pause")).context("could not copy pause")?;
    let settings = Settings { entrypoint: vec!["/pause".into()], user: "65535:65535".into(), labels: BTreeMap::new() };
    oci::pack(&root, &settings, "localhost/pause:1", &archive)?;
    Ok(archive)
}
