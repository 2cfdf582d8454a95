//! An archive of one image with one layer: OCI's layout, with the list that older versions of `docker load` read as well.
//!
//! Equal files and settings give equal bytes: no times, no owners, no order but that of the names.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::dockerfile::Settings;
use crate::rootfs::walk;

/// What has become of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of its manifest, as `image.digest` of the chart wants it.
    pub digest: String,
    /// The size of its files in bytes.
    pub size: u64,
}

/// Packs the files below `root` into an archive with these settings under this name.
pub fn pack(root: &Path, settings: &Settings, name: &str, out: &Path) -> Result<Packed> {
    let (_, tag) = name.rsplit_once(':').with_context(|| format!("{name} has no tag"))?;
    ensure!(!tag.contains('/'), "{name} has no tag");
    let layer = layer(root)?;
    let file = File::create(out).with_context(|| format!("could not write {}", out.display()))?;
    let mut archive = Builder::new(BufWriter::new(file));

    let layer_blob = blob(&mut archive, "application/vnd.oci.image.layer.v1.tar", &layer)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": settings.user,
            "Entrypoint": settings.entrypoint,
            "WorkingDir": "/",
            "Labels": settings.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
    });
    let config_blob = blob(&mut archive, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config_blob,
        "layers": [layer_blob],
    });
    let mut manifest_blob = blob(&mut archive, manifest_type, &serde_json::to_vec(&manifest)?)?;
    let digest = text(&manifest_blob["digest"]);
    manifest_blob["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest_blob],
    });
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
    append(&mut archive, "oci-layout", &serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?)?;
    let list = json!([{
        "Config": path_of(&config_blob),
        "RepoTags": [name],
        "Layers": [path_of(&layer_blob)],
    }]);
    append(&mut archive, "manifest.json", &serde_json::to_vec(&list)?)?;
    archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;

    let mut size = 0;
    for path in walk(root)? {
        let metadata = root.join(path).symlink_metadata()?;
        size += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(Packed { digest, size })
}

/// The files and directories below `root`, which belong to root and were never changed.
fn layer(root: &Path) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for path in walk(root)? {
        let from = root.join(&path);
        let metadata = from.symlink_metadata()?;
        let mut header = Header::new_ustar();
        header.set_mode(metadata.permissions().mode() & 0o7777);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            layer.append_data(&mut header, &path, io::empty())?;
        } else {
            ensure!(metadata.is_file(), "{} is neither a file nor a directory", from.display());
            let content = fs::read(&from).with_context(|| format!("could not read {}", from.display()))?;
            header.set_size(content.len() as u64);
            layer.append_data(&mut header, &path, content.as_slice())?;
        }
    }
    Ok(layer.into_inner()?)
}

fn blob(archive: &mut Builder<impl Write>, media_type: &str, content: &[u8]) -> Result<Value> {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    let hash = hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    append(archive, &format!("blobs/sha256/{hash}"), content)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{hash}"), "size": content.len()}))
}

fn append(archive: &mut Builder<impl Write>, path: &str, content: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    Ok(archive.append_data(&mut header, path, content)?)
}

fn path_of(blob: &Value) -> String {
    text(&blob["digest"]).replace("sha256:", "blobs/sha256/")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// This machine's, in the words of container images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;
    use crate::rootfs::{BINARY, PASSWD, ROOTS, lay_out};

    fn read(archive: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(archive).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn an_archive_leads_from_its_index_to_the_files_and_equal_files_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("binary");
        fs::write(&binary, "elf").unwrap();
        let settings = Settings {
            entrypoint: vec!["/amishare".into()],
            user: "65532:65532".into(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
        };
        let packed = ["one", "other"].map(|name| {
            let (root, out) = (folder.path().join(name), folder.path().join(format!("{name}.tar")));
            lay_out(&binary, &root).unwrap();
            (pack(&root, &settings, "localhost/x:1", &out).unwrap(), out)
        });
        assert_eq!(packed[0].0, packed[1].0);
        assert_eq!(fs::read(&packed[0].1).unwrap(), fs::read(&packed[1].1).unwrap());

        let files = read(&packed[0].1);
        let parsed = |path: &str| serde_json::from_slice::<Value>(&files[path]).unwrap();
        let follow = |blob: &Value| {
            let content = &files[&path_of(blob)];
            assert_eq!(blob["size"], content.len());
            content
        };
        let index = parsed("index.json");
        assert_eq!(index["manifests"][0]["digest"], packed[0].0.digest);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/x:1");
        let manifest: Value = serde_json::from_slice(follow(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(follow(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/amishare"]));
        assert_eq!(config["rootfs"]["diff_ids"], json!([manifest["layers"][0]["digest"]]));
        assert_eq!(parsed("manifest.json")[0]["Layers"][0], path_of(&manifest["layers"][0]));

        let mut layer = tar::Archive::new(follow(&manifest["layers"][0]).as_slice());
        let entries: Vec<_> = layer
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
                (entry.path().unwrap().display().to_string(), header.mode().unwrap())
            })
            .collect();
        let expected = [
            (BINARY, 0o755),
            ("etc", 0o755),
            (PASSWD, 0o644),
            ("etc/ssl", 0o755),
            ("etc/ssl/certs", 0o755),
            (ROOTS, 0o644),
        ];
        assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn a_name_without_a_tag_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["localhost/x", "localhost:5000/x"] {
            assert!(pack(folder.path(), &Settings::default(), name, &folder.path().join("out")).is_err(), "{name}");
        }
    }
}
