//! The images and accounts of a measurement, and how they are written for the simulator and for Kubernetes.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

/// The account that owns every image.
pub const OWNER: &str = "111122223333";

/// Where the images are.
pub const REGION: &str = "us-east-1";

/// Whom nobody lists.
pub const ROGUE: &str = "999900001111";

/// The namespace of the objects.
pub const NAMESPACE: &str = "default";

/// How many images are shared, and each with how many accounts; and with how many keys they are encrypted, if they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Images, each with one AmiShare.
    pub images: usize,
    /// Accounts that each of them lists.
    pub accounts: usize,
    /// Customer managed keys with which they are encrypted, one after the other.
    pub keys: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (images, accounts) = (thousands(self.images), thousands(self.accounts));
        match self.keys {
            0 => write!(f, "{images} AMIs × {accounts} accounts"),
            keys => write!(f, "{images} encrypted AMIs on {keys} keys × {accounts} accounts"),
        }
    }
}

/// A number as people write it.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Size {
    /// Images that are not encrypted.
    pub const fn new(images: usize, accounts: usize) -> Self {
        Self { images, accounts, keys: 0 }
    }

    /// The ARN of a key.
    pub fn key(index: usize) -> String {
        format!("arn:aws:kms:{REGION}:{OWNER}:key/0b000000-0000-4000-8000-{index:012x}")
    }

    /// The ARNs of all keys.
    pub fn all_keys(self) -> impl Iterator<Item = String> {
        (0..self.keys).map(Self::key)
    }

    /// The id of an image.
    pub fn image(index: usize) -> String {
        format!("ami-0b{index:015x}")
    }

    /// The ids of all images.
    pub fn all_images(self) -> impl Iterator<Item = String> {
        (0..self.images).map(Self::image)
    }

    /// The name of the AmiShare of an image.
    pub fn share(index: usize) -> String {
        format!("golden-{index:05}")
    }

    /// The accounts that every AmiShare lists, in their order.
    pub fn all_accounts(self) -> impl Iterator<Item = String> {
        // Far apart, as real ones are.
        (0..self.accounts).map(|n| format!("{:012}", 200_000_000_000 + n * 700_001))
    }

    /// The scenario of the simulator: nothing is shared yet.
    pub fn scenario(self, weather: Weather) -> String {
        let mut yaml = format!("seed: 7\nregions: [{REGION}]\n{}images:\n", weather.scenario());
        let mut snapshots = String::new();
        for (index, id) in self.all_images().enumerate() {
            let name = Self::share(index);
            let place = format!("region: {REGION}, owner: \"{OWNER}\"");
            // Writing to a String does not fail.
            let _ = write!(yaml, "  - {{id: {id}, {place}, name: {name}");
            if let Some(key) = index.checked_rem(self.keys).map(Self::key) {
                let snapshot = id.replace("ami-", "snap-");
                let _ = write!(yaml, ", snapshots: [{snapshot}]");
                let _ = writeln!(
                    snapshots,
                    "  - {{id: {snapshot}, {place}, encryption: customerKey, kmsKeyId: \"{key}\"}}"
                );
            }
            yaml.push_str("}\n");
        }
        if !snapshots.is_empty() {
            yaml.extend(["snapshots:\n", &snapshots]);
        }
        yaml
    }

    /// The manifest of one AmiShare.
    pub fn manifest(self, index: usize, interval: &str) -> Value {
        let accounts: Vec<String> = self.all_accounts().collect();
        let grants = if self.keys == 0 { "None" } else { "Accounts" };
        json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare",
            "metadata": {"name": Self::share(index), "namespace": NAMESPACE},
            "spec": {
                "region": REGION, "image": {"id": Self::image(index)}, "shareWith": {"accountIds": accounts},
                "interval": interval, "kms": {"grants": grants},
            },
        })
    }
}

/// What AWS is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Answers at once, and to any number of calls.
    Ideal,
    /// Every call takes 100 ms, and the documented buckets of EC2 bound their number.
    Real,
}

/// How long a call takes in real weather.
pub const LATENCY_MILLISECONDS: u64 = 100;

impl Weather {
    fn scenario(self) -> String {
        match self {
            Self::Ideal => String::new(),
            Self::Real => format!("latencyMilliseconds: {LATENCY_MILLISECONDS}\nthrottling: {{enabled: true}}\n"),
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ideal => f.write_str("no latency, no buckets"),
            Self::Real => write!(f, "{LATENCY_MILLISECONDS} ms per call and EC2's buckets"),
        }
    }
}
