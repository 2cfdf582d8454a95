//! A small world and a client for it that speaks the wire protocol.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::simulator::request::Request;
use crate::simulator::{Scenario, Simulator};

pub(super) const OWNER: &str = "111122223333";
pub(super) const FRIEND: &str = "444455556666";
pub(super) const STRANGER: &str = "777788889999";
/// No such account.
pub(super) const CLOSED: &str = "999999999999";
pub(super) const REGION: &str = "us-east-1";

pub(super) const IMAGE: &str = "ami-0123456789abcdef0";
pub(super) const SNAPSHOT: &str = "snap-0123456789abcdef0";
/// Under a customer-managed key.
pub(super) const KEY_IMAGE: &str = "ami-0aaaabbbbccccdddd";
pub(super) const KEY_SNAPSHOT: &str = "snap-0aaaabbbbccccdddd";
/// Under the `aws/ebs` key.
pub(super) const DEFAULT_KEY_IMAGE: &str = "ami-0eeeeffff00001111";
pub(super) const DEFAULT_KEY_SNAPSHOT: &str = "snap-0eeeeffff00001111";
/// With a product code.
pub(super) const SOLD_IMAGE: &str = "ami-01212121212121212";
pub(super) const PENDING_IMAGE: &str = "ami-03434343434343434";
/// Well formed, and never given to anything.
pub(super) const UNKNOWN_IMAGE: &str = "ami-0fedcba9876543210";
pub(super) const UNKNOWN_SNAPSHOT: &str = "snap-0fedcba9876543210";

pub(super) const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-abcdefghij";
pub(super) const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh";

const SCENARIO: &str = r#"
seed: 1
clock: {fixed: "2026-11-21T08:00:00Z"}
accounts:
  - id: "777788889999"
    organizationArn: arn:aws:organizations::111122223333:organization/o-abcdefghij
    organizationalUnitArns: ["arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh"]
closedAccounts: ["999999999999"]
regions: [us-east-1, eu-west-1]
disabledRegions: [af-south-1]
roles:
  - {arn: "arn:aws:iam::444455556666:role/path/reader", trusts: ["111122223333", "444455556666"], externalId: secret}
  - {arn: "arn:aws:iam::444455556666:role/anyone", maxSessionSeconds: 7200}
snapshots:
  - {id: snap-0aaaabbbbccccdddd, region: us-east-1, owner: "111122223333", encryption: customerKey}
  - {id: snap-0eeeeffff00001111, region: us-east-1, owner: "111122223333", encryption: defaultKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "111122223333", name: base, snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0aaaabbbbccccdddd, region: us-east-1, owner: "111122223333", snapshots: [snap-0aaaabbbbccccdddd]}
  - {id: ami-0eeeeffff00001111, region: us-east-1, owner: "111122223333", snapshots: [snap-0eeeeffff00001111]}
  - {id: ami-01212121212121212, region: us-east-1, owner: "111122223333", snapshots: [snap-01212121212121212], productCodes: [{code: abc}]}
  - {id: ami-03434343434343434, region: us-east-1, owner: "111122223333", state: pending}
"#;

/// The scenario that most tests begin with.
pub(super) fn scenario() -> Scenario {
    Scenario::from_yaml(SCENARIO).unwrap()
}

/// A simulated AWS to send requests to.
pub(super) struct Aws(pub(super) Simulator);

impl Aws {
    pub(super) fn new() -> Self {
        Self::of(scenario())
    }

    pub(super) fn of(scenario: Scenario) -> Self {
        Self(Simulator::new(scenario))
    }

    /// Sends a call to EC2 in the usual Region.
    pub(super) fn ec2(&self, account: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        self.send(account, REGION, "2016-11-15", action, params)
    }

    /// Sends a call to STS.
    pub(super) fn sts(&self, account: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        self.send(account, REGION, "2011-06-15", action, params)
    }

    pub(super) fn send(&self, key: &str, region: &str, version: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        self.send_with(&headers(key, region), &form(version, action, params))
    }

    pub(super) fn send_with(&self, headers: &HeaderMap, body: &str) -> Answer {
        let reply = self.0.answer(Request::read("", headers, body.as_bytes()));
        Answer { status: reply.status, body: String::from_utf8(reply.whole_body().to_vec()).unwrap() }
    }

    /// A call that has to succeed.
    pub(super) fn ok(&self, account: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        let answer = self.ec2(account, action, params);
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer
    }

    /// A call that has to be refused: with this code and message, and with status 400, which most errors have.
    #[track_caller]
    pub(super) fn refused(&self, account: &str, action: &str, params: &[(&str, &str)], code: &str, message: &str) {
        self.ec2(account, action, params).is_error(400, code, message);
    }

    /// The launch permissions, in the order in which they are described.
    pub(super) fn launch_permissions(&self, image: &str) -> Vec<String> {
        let params = [("ImageId", image), ("Attribute", "launchPermission")];
        let answer = self.ok(OWNER, "DescribeImageAttribute", &params);
        let values = ["userId", "group", "organizationArn", "organizationalUnitArn"];
        answer.all("item").iter().flat_map(|item| values.map(|name| first(item, name)).into_iter().flatten()).collect()
    }

    /// The ids of the images that are described.
    pub(super) fn images(&self, account: &str, params: &[(&str, &str)]) -> Vec<String> {
        self.ok(account, "DescribeImages", params).all("imageId")
    }

    /// Gives the launch permission on the image to a principal: by account id, `all`, or ARN.
    pub(super) fn share(&self, image: &str, grantee: &str) {
        self.0.with_world(|world| {
            world.image_mut(REGION, image).unwrap().launch_permissions.give(grantee.parse().unwrap());
        });
    }
}

/// The headers of a signed request.
pub(super) fn headers(key: &str, region: &str) -> HeaderMap {
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={key}/20261121/{region}/ec2/aws4_request, SignedHeaders=host, Signature=0"
    );
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

/// The body of a request.
pub(super) fn form(version: &str, action: &str, params: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", version);
    form.extend_pairs(params);
    form.finish()
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// The status and the code of a refusal.
    pub(super) fn refusal(&self) -> (u16, String) {
        (self.status, self.code().unwrap_or_default())
    }

    #[track_caller]
    pub(super) fn is_error(&self, status: u16, code: &str, message: &str) {
        let found = (self.status, self.one("Code"), self.one("Message"));
        assert_eq!(found, (status, Some(code.to_owned()), Some(message.to_owned())), "{}", self.body);
    }

    /// The code of the error; none for a success.
    pub(super) fn code(&self) -> Option<String> {
        self.one("Code")
    }

    /// The text of the first element with this name.
    pub(super) fn one(&self, name: &str) -> Option<String> {
        first(&self.body, name)
    }

    /// The content of every element with this name that has no such element inside.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(&open).skip(1);
        parts.filter_map(|part| Some(unescape(part.split_once(&close)?.0))).collect()
    }
}

fn first(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(unescape(rest.split_once(&format!("</{name}>"))?.0))
}

fn unescape(text: &str) -> String {
    quick_xml::escape::unescape(text).unwrap().into_owned()
}
