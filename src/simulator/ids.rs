//! Resource ids: which are well formed, and how new ones are made. Knows no world.

/// Whether the id can be an image's: `ami-` and 8 or 17 lower-case hex digits that are not all the same.
///
/// AWS refuses `ami-000…` and `ami-111…` as malformed, by a checksum that is not published (aws.md section 1.0); refusing
/// repeated digits is what of that can be known.
pub(super) fn is_image_id(id: &str) -> bool {
    is_resource_id(id, "ami-")
}

/// Whether the id can be a snapshot's.
pub(super) fn is_snapshot_id(id: &str) -> bool {
    is_resource_id(id, "snap-")
}

/// Whether the id can be a volume's.
pub(super) fn is_volume_id(id: &str) -> bool {
    is_resource_id(id, "vol-")
}

/// Whether the id can be an instance's.
pub(super) fn is_instance_id(id: &str) -> bool {
    is_resource_id(id, "i-")
}

/// Whether the text has the form of an account id. Whether the account exists is the world's to say.
pub(super) fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_resource_id(id: &str, prefix: &str) -> bool {
    let Some(digits) = id.strip_prefix(prefix).map(str::as_bytes) else { return false };
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(digits.len(), 8 | 17) && digits.iter().all(is_hex) && digits.iter().any(|byte| *byte != digits[0])
}

/// Hands out ids that look random and are the same in every run with the same seed.
#[derive(Clone, Debug)]
pub(super) struct IdSource {
    seed: u64,
    used: u64,
}

impl IdSource {
    /// The ids that follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, used: 0 }
    }

    /// A number that this source has not given before.
    fn next(&mut self) -> u64 {
        self.used += 1;
        mix(self.seed.wrapping_add(self.used.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// An id with 17 hex digits. The first is always a zero, as on AWS, and the last never: so the digits differ.
    pub(super) fn resource(&mut self, prefix: &str) -> String {
        format!("{prefix}0{:016x}", self.next() | 1)
    }

    /// An id in the form of a UUID, for requests.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// Sixty-four hex digits, for KMS grants.
    pub(super) fn grant(&mut self) -> String {
        let [a, b, c, d] = std::array::from_fn(|_| self.next());
        format!("{a:016x}{b:016x}{c:016x}{d:016x}")
    }

    /// Sixteen upper-case hex digits, for access key ids.
    pub(super) fn key_suffix(&mut self) -> String {
        format!("{:016X}", self.next())
    }
}

/// The finaliser of `SplitMix64`: a bijection, so that different counts never give the same number.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_well_formed_and_follow_from_the_seed() {
        let ids = |seed| -> Vec<String> {
            let mut source = IdSource::new(seed);
            (0..1000).map(|_| source.resource("ami-")).collect()
        };
        assert!(ids(7).iter().all(|id| is_image_id(id)));
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
    }

    #[test]
    fn ids_that_aws_calls_malformed_are() {
        for id in ["ami-0123456789abcdef0", "ami-61a54008"] {
            assert!(is_image_id(id), "{id}");
        }
        for id in [
            "",
            "ami-",
            "ami-1",
            "ami-00000000000000000",
            "ami-11111111111111111",
            "ami-0123456789ABCDEF0",
            "snap-61a54008",
        ] {
            assert!(!is_image_id(id), "{id}");
        }
    }
}
