//! The actions of AWS that the operator performs: all of them, by name.
//!
//! Pure. [`Ec2`](super::Ec2) and [`Kms`](super::Kms) make no call that is not one of these, and the policies in `config/iam/` allow exactly these: who adds one
//! is told by the compiler to say on what IAM lets it be allowed, and by the tests to add it there.

use strum::{IntoStaticStr, VariantArray};

/// An action of EC2 or KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum Action {
    /// Reads the description of images.
    DescribeImages,
    /// Reads the launch permissions of an image.
    DescribeImageAttribute,
    /// Reads the createVolumePermission of a snapshot.
    DescribeSnapshotAttribute,
    /// Reads whether images of the account can newly be made public.
    GetImageBlockPublicAccessState,
    /// Changes the launch permissions of an image.
    ModifyImageAttribute,
    /// Changes the createVolumePermission of a snapshot.
    ModifySnapshotAttribute,
    /// Reads with which keys snapshots are encrypted.
    DescribeSnapshots,
    /// Makes a copy of an image.
    CopyImage,
    /// Deletes an image, and its snapshots with it.
    DeregisterImage,
    /// Deletes a snapshot that a failed copy has left.
    DeleteSnapshot,
    /// Has an image deprecated at a time.
    EnableImageDeprecation,
    /// Has it not be deprecated.
    DisableImageDeprecation,
    /// Protects an image from being deregistered.
    EnableImageDeregistrationProtection,
    /// Takes that back.
    DisableImageDeregistrationProtection,
    /// Reads which instances of the account were started from an image.
    DescribeInstances,
    /// Orders a report on which other accounts use an image.
    CreateImageUsageReport,
    /// Reads which reports there are.
    DescribeImageUsageReports,
    /// Reads what a report says.
    DescribeImageUsageReportEntries,
    /// Reads what a key is, and its state.
    DescribeKey,
    /// Reads who may do what with a key.
    GetKeyPolicy,
    /// Reads the grants on a key.
    ListGrants,
    /// Lets somebody use a key.
    CreateGrant,
    /// Takes that back.
    RevokeGrant,
}

impl Action {
    /// The name, as it goes over the wire and as CloudTrail, metrics and messages have it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The name in IAM policies.
    pub fn in_policies(self) -> String {
        format!("{}:{}", self.service(), self.name())
    }

    /// The service, as IAM policies and metrics name it.
    pub fn service(self) -> &'static str {
        match self.resource() {
            Some("key") => "kms",
            _ => "ec2",
        }
    }

    /// The type of the resources on which IAM lets it be allowed. None: only on everything (aws.md section 4.1).
    pub fn resource(self) -> Option<&'static str> {
        match self {
            Self::DescribeImages
            | Self::DescribeSnapshots
            | Self::GetImageBlockPublicAccessState
            | Self::DescribeInstances
            | Self::CreateImageUsageReport
            | Self::DescribeImageUsageReports
            | Self::DescribeImageUsageReportEntries => None,
            Self::DescribeImageAttribute
            | Self::ModifyImageAttribute
            | Self::CopyImage
            | Self::DeregisterImage
            | Self::EnableImageDeprecation
            | Self::DisableImageDeprecation
            | Self::EnableImageDeregistrationProtection
            | Self::DisableImageDeregistrationProtection => Some("image"),
            Self::DescribeSnapshotAttribute | Self::ModifySnapshotAttribute | Self::DeleteSnapshot => Some("snapshot"),
            Self::DescribeKey | Self::GetKeyPolicy | Self::ListGrants | Self::CreateGrant | Self::RevokeGrant => {
                Some("key")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    /// The operations of the SDK that the module calls, as its fluent methods are named: what follows `self.client`.
    fn called(source: &str) -> BTreeSet<String> {
        let rest = source.split("self").map(str::trim_start).filter_map(|rest| rest.strip_prefix(".client"));
        let methods = rest.filter_map(|rest| rest.trim_start().strip_prefix('.'));
        methods.map(|rest| rest.split('(').next().unwrap_or_default().to_owned()).collect()
    }

    /// `DescribeImages` is `describe_images`.
    fn method(action: Action) -> String {
        let mut method = String::new();
        for letter in action.name().chars() {
            if letter.is_ascii_uppercase() && !method.is_empty() {
                method.push('_');
            }
            method.push(letter.to_ascii_lowercase());
        }
        method
    }

    /// The files below `src/` with this text in them.
    fn files_with(text: &str) -> BTreeSet<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut found, mut folders) = (BTreeSet::new(), vec![source.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read_to_string(&path).is_ok_and(|content| content.contains(text)) {
                    found.insert(path.strip_prefix(&source).unwrap().display().to_string());
                }
            }
        }
        found
    }

    #[test]
    fn no_other_file_makes_calls() {
        // This file has the word in two parts.
        let clients = files_with(concat!("aws_", "sdk_"));
        let known = ["clients", "copies", "ec2", "failed", "kms", "lifecycle", "proof"];
        assert_eq!(clients, known.map(|name| format!("aws/{name}.rs")).into());
    }

    #[test]
    fn the_operations_of_the_sdk_that_are_called_are_the_actions_and_no_others() {
        let actions: BTreeSet<String> = Action::VARIANTS.iter().map(|action| method(*action)).collect();
        let sources =
            [include_str!("copies.rs"), include_str!("ec2.rs"), include_str!("kms.rs"), include_str!("lifecycle.rs")];
        assert_eq!(sources.into_iter().flat_map(called).collect::<BTreeSet<_>>(), actions);
    }
}
