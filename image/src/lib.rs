//! The operator's image: its files, its settings and the archive that holds both.
//!
//! [`rootfs`] lays the files out, for the `Dockerfile` as for the archive. [`dockerfile`] reads the image's settings from the
//! `Dockerfile`, so that they are written once. [`oci`] packs files and settings into an archive that `docker load`, `ctr images
//! import`, `kind load image-archive` and the usual registry tools take. [`start`] measures how soon the operator answers.
//!
//! The tests on a real node pack their images with this, too. It knows nothing of Kubernetes and AWS.

pub mod dockerfile;
pub mod oci;
pub mod rootfs;
pub mod start;
