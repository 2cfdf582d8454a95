//! EC2 and KMS over bare HTTP: no SDK, bodies built by hand, answers searched as text. Nothing can ask AWS with less.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use crate::world::REGION;

/// An account's access to EC2.
#[derive(Clone)]
pub struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    account: String,
}

impl Wire {
    /// Speaks to a simulator as an account.
    pub fn new(endpoint: &str, account: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, endpoint: endpoint.to_owned(), account: account.to_owned() }
    }

    /// The simulator looks at the scope only: it says who calls what, and in which Region.
    fn authorization(&self, service: &str) -> String {
        let scope = format!("{}/20260101/{REGION}/{service}/aws4_request", self.account);
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00")
    }

    /// Makes a call, which must succeed. Names and values must not need escaping, as those of EC2 do not.
    pub async fn call(&self, action: &str, parameters: &[(String, String)]) -> Result<String> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            write!(body, "&{name}={value}")?;
        }
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, self.authorization("ec2"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(body))?;
        self.answer(action, request).await
    }

    /// Makes a call of KMS, which must succeed.
    pub async fn kms(&self, action: &str, parameters: &Value) -> Result<Value> {
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, self.authorization("kms"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("TrentService.{action}"))
            .body(Full::from(parameters.to_string()))?;
        Ok(serde_json::from_str(&self.answer(action, request).await?)?)
    }

    /// All grants on a key.
    pub async fn grants(&self, key: &str) -> Result<Vec<Value>> {
        let (mut grants, mut page) = (Vec::new(), Value::Null);
        loop {
            let mut parameters = json!({"KeyId": key, "Limit": 100});
            if !page.is_null() {
                parameters["Marker"] = page;
            }
            let mut answer = self.kms("ListGrants", &parameters).await?;
            grants.extend(answer["Grants"].as_array().into_iter().flatten().cloned());
            page = answer["NextMarker"].take();
            if page.is_null() {
                return Ok(grants);
            }
        }
    }

    async fn answer(&self, action: &str, request: Request<Full<Bytes>>) -> Result<String> {
        let answer = self.client.request(request).await.with_context(|| format!("{action} was not answered"))?;
        let status = answer.status();
        let text = String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?;
        ensure!(status.is_success(), "{action} was answered with {status}: {text}");
        Ok(text)
    }

    /// The ids of all images that somebody has shared with this account, so that it may launch them.
    pub async fn shared_with_me(&self) -> Result<Vec<String>> {
        let (mut images, mut page) = (Vec::new(), None::<String>);
        loop {
            let mut parameters = parameters([("ExecutableBy.1", "self"), ("MaxResults", "1000")]);
            parameters.extend(page.take().map(|token| ("NextToken".to_owned(), token)));
            let answer = self.call("DescribeImages", &parameters).await?;
            images.extend(all(&answer, "imageId").map(ToOwned::to_owned));
            page = all(&answer, "nextToken").next().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
            if page.is_none() {
                return Ok(images);
            }
        }
    }
}

/// Parameters from names and values.
pub fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The texts of all elements of a name.
pub fn all<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_name() {
        let xml = "<a><userId>1</userId></a><b><userId>2</userId><user>3</user></b>";
        assert_eq!(all(xml, "userId").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(all(xml, "nextToken").next(), None);
    }
}
