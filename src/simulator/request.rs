//! From the wire to a call: decodes the form, and reads account, Region and service out of the signature's scope.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};

use super::errors::{self, ApiError};
use super::params::{Params, flattened};

const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const SDK_ATTEMPT: HeaderName = HeaderName::from_static("amz-sdk-request");
const AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SDK_INVOCATION: HeaderName = HeaderName::from_static("amz-sdk-invocation-id");

/// The API version of STS. Everything else is taken for EC2, which has been at 2016-11-15 for as long as SDKs matter.
const STS_VERSION: &str = "2011-06-15";

/// What names the action of KMS, before its name \[T, aws.md section 5.2\].
const KMS_TARGET: &str = "TrentService.";

/// Which of the APIs is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ec2,
    Kms,
    Sts,
}

/// The credentials that a request was signed with, as far as they can be read without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) access_key_id: String,
    pub(super) security_token: Option<String>,
    /// From the credential scope: the host says nothing, for one endpoint serves all Regions.
    pub(super) region: String,
}

/// One call, before anybody has looked at whether it makes sense.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) service: Service,
    pub(super) action: String,
    pub(super) params: Params,
    pub(super) credential: Result<Credential, ApiError>,
    /// `amz-sdk-request`'s attempt: tells a retry of the SDK from a new call (aws.md section 5.1).
    pub(super) attempt: Option<u32>,
    /// `amz-sdk-invocation-id`: the same for all attempts of one call.
    pub(super) invocation: Option<String>,
}

impl Request {
    /// Reads a request.
    pub(super) fn read(query: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        match text(headers, &AMZ_TARGET).and_then(|target| target.strip_prefix(KMS_TARGET)) {
            Some(action) => Self::read_json(action, headers, body),
            None => Self::read_form(query, headers, body),
        }
    }

    /// A request in AWS's JSON protocol, which of the services here KMS alone speaks.
    fn read_json(action: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        let content = serde_json::from_slice(body).map_err(|_| errors::serialization());
        Self {
            service: Service::Kms,
            action: action.to_owned(),
            params: content.as_ref().map(flattened).unwrap_or_default(),
            // What cannot be read is refused before anybody asks who sent it.
            credential: content.and_then(|_| credential(headers)),
            attempt: text(headers, &SDK_ATTEMPT).and_then(attempt),
            invocation: text(headers, &SDK_INVOCATION).map(str::to_owned),
        }
    }

    /// A request in AWS's query protocol. The query string counts like the body.
    fn read_form(query: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        let mut service = Service::Ec2;
        let mut action = String::new();
        let mut params = Vec::new();
        for (name, value) in pairs {
            match &*name {
                "Action" => action = value.into_owned(),
                "Version" if value == STS_VERSION => service = Service::Sts,
                "Version" => {}
                _ => params.push((name.into_owned(), value.into_owned())),
            }
        }
        Self {
            service,
            action,
            params: params.into_iter().collect(),
            credential: credential(headers),
            attempt: text(headers, &SDK_ATTEMPT).and_then(attempt),
            invocation: text(headers, &SDK_INVOCATION).map(str::to_owned),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `attempt=2; max=3` is 2.
fn attempt(header: &str) -> Option<u32> {
    let field = |part: &str| part.trim().strip_prefix("attempt=")?.parse().ok();
    header.split(';').find_map(field)
}

/// `AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<Region>/<service>/aws4_request, …`.
fn credential(headers: &HeaderMap) -> Result<Credential, ApiError> {
    let header = text(headers, &AUTHORIZATION).ok_or_else(errors::missing_authentication_token)?;
    let (_, rest) = header.split_once("Credential=").ok_or_else(errors::incomplete_signature)?;
    let scope = rest.split([',', ' ']).next().unwrap_or_default();
    let [access_key_id, _date, region, _service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(errors::incomplete_signature());
    };
    Ok(Credential {
        access_key_id: access_key_id.to_owned(),
        security_token: text(headers, &SECURITY_TOKEN).map(str::to_owned),
        region: region.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_of_the_signature_names_account_and_region() {
        let mut headers = HeaderMap::new();
        let value = "AWS4-HMAC-SHA256 Credential=111122223333/20261121/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=00";
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers.insert(SDK_ATTEMPT, "attempt=2; max=3".parse().unwrap());
        let request = Request::read("", &headers, b"Action=DescribeImages&Version=2016-11-15&Owner.1=self&Name=a%20b");
        let credential = request.credential.unwrap();
        assert_eq!((credential.access_key_id.as_str(), credential.region.as_str()), ("111122223333", "eu-west-1"));
        assert_eq!((request.action.as_str(), request.attempt), ("DescribeImages", Some(2)));
        assert_eq!(request.params.get("Name"), Some("a b"));
        assert_eq!(request.service, Service::Ec2);
    }

    #[test]
    fn a_request_without_a_signature_is_still_read() {
        let request = Request::read("Action=GetCallerIdentity&Version=2011-06-15", &HeaderMap::new(), b"");
        assert_eq!(request.service, Service::Sts);
        assert_eq!(request.credential.unwrap_err().code, "MissingAuthenticationToken");
    }
}
