//! Where the binaries are: in `KUBEBUILDER_ASSETS` when that is set, else in the cache, built on first use.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::go;

/// The variable that names a directory with ready binaries, as controller-runtime's envtest knows it.
const OVERRIDE: &str = "KUBEBUILDER_ASSETS";

/// The binaries of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// The API server's database.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// Garbage collection, service accounts, namespace deletion. Bundles for `KUBEBUILDER_ASSETS` may lack it.
    pub kube_controller_manager: Option<PathBuf>,
    /// The command line client.
    pub kubectl: PathBuf,
}

impl Assets {
    /// The binaries in `dir`; an error names the first one that is missing.
    pub fn in_dir(dir: &Path) -> Result<Self> {
        let required = |name: &str| {
            let path = dir.join(name);
            ensure!(path.is_file(), "there is no {name} in {}", dir.display());
            Ok(path)
        };
        Ok(Self {
            etcd: required("etcd")?,
            kube_apiserver: required("kube-apiserver")?,
            kube_controller_manager: Some(dir.join("kube-controller-manager")).filter(|path| path.is_file()),
            kubectl: required("kubectl")?,
        })
    }

    /// The directory that holds the binaries.
    pub fn dir(&self) -> &Path {
        self.kubectl.parent().unwrap_or(Path::new("."))
    }
}

/// Finds the binaries, or builds them: the first build takes 5 to 6 minutes and reports on standard error.
pub fn assets() -> Result<Assets> {
    let Some(dir) = bundle()? else { return go::build() };
    Assets::in_dir(&dir).with_context(|| {
        format!("{OVERRIDE} must name a directory with etcd, kube-apiserver and kubectl; unset it to have them built")
    })
}

/// Finds helm, or builds it: the first build takes 2 minutes and reports on standard error. Few bundles for
/// `KUBEBUILDER_ASSETS` have it.
pub fn helm() -> Result<PathBuf> {
    match bundle()?.map(|dir| dir.join("helm")).filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => go::build_helm(),
    }
}

/// What `KUBEBUILDER_ASSETS` names.
fn bundle() -> Result<Option<PathBuf>> {
    let dir = env::var_os(OVERRIDE).filter(|dir| !dir.is_empty());
    // Absolute, because commands may run in another directory.
    dir.map(|dir| std::path::absolute(&dir).with_context(|| format!("{OVERRIDE} is not a usable path"))).transpose()
}
