//! What belongs to accounts: their place in an organization, their guards, their tags, their roles and sessions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where in an organization an account is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The organization, by ARN.
    pub organization_arn: Option<String>,
    /// Every organizational unit above the account, not only the nearest, by ARN.
    pub organizational_unit_arns: BTreeSet<String>,
}

/// Block public access for images, of one account in one Region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePublicAccess {
    /// No image can be made public. Those that are stay it. The default, as for accounts made today \[D, aws.md section
    /// 1.7\].
    #[default]
    BlockNewSharing,
    /// Images can be made public.
    Unblocked,
}

impl ImagePublicAccess {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlockNewSharing => "block-new-sharing",
            Self::Unblocked => "unblocked",
        }
    }
}

/// Block public access for snapshots, of one account in one Region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotPublicAccess {
    /// No snapshot can be made public, and those that are count as private.
    BlockAllSharing,
    /// No snapshot can be made public. Those that are stay it.
    BlockNewSharing,
    /// Snapshots can be made public.
    #[default]
    Unblocked,
}

impl SnapshotPublicAccess {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlockAllSharing => "block-all-sharing",
            Self::BlockNewSharing => "block-new-sharing",
            Self::Unblocked => "unblocked",
        }
    }
}

/// What an account has decided about public sharing in one Region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccess {
    /// For images.
    pub images: ImagePublicAccess,
    /// For snapshots.
    pub snapshots: SnapshotPublicAccess,
}

/// The tags of one resource. Each account sees its own and not the others' \[C, aws.md section 1.9\].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTags(BTreeMap<String, BTreeMap<String, String>>);

impl AccountTags {
    /// The tags that `account` has written, if any.
    pub fn of(&self, account: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(account)
    }

    /// The tags of `account`, to be changed.
    pub fn of_mut(&mut self, account: &str) -> &mut BTreeMap<String, String> {
        self.0.entry(account.to_owned()).or_default()
    }
}

/// A role that can be assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The account that it is in.
    pub account: String,
    /// Its name, without a path.
    pub name: String,
    /// The accounts that may assume it; none means any.
    pub trusts: BTreeSet<String>,
    /// What the caller has to say to assume it.
    pub external_id: Option<String>,
    /// The longest session, in seconds.
    pub max_session_seconds: i64,
}

/// The credentials that assuming a role gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) caller: Caller,
    pub(crate) expires: Timestamp,
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The account that the call is made in.
    pub(crate) account: String,
    /// The principal's ARN.
    pub(crate) arn: String,
    /// The principal's unique id.
    pub(crate) user_id: String,
    /// Whether the caller is a role's session, and so cannot have a session longer than an hour.
    pub(crate) is_session: bool,
}

impl Caller {
    /// The account's own user: what an access key id that is an account id stands for.
    pub(crate) fn of_account(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/simulator"),
            user_id: format!("AIDA{account}"),
            is_session: false,
        }
    }

    /// A session of a role.
    pub(crate) fn of_role(role: &Role, session_name: &str) -> Self {
        Self {
            account: role.account.clone(),
            arn: format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", role.account, role.name),
            user_id: format!("AROA{}:{session_name}", role.account),
            is_session: true,
        }
    }
}
