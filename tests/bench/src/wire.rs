//! EC2 over bare HTTP: no SDK, bodies built by hand, answers searched as text. Nothing can ask AWS with less.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::world::REGION;

/// An account's access to EC2.
#[derive(Clone)]
pub struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    authorization: String,
}

impl Wire {
    /// Speaks to a simulator as an account.
    pub fn new(endpoint: &str, account: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // The simulator looks at the scope only: it says who calls, and in which Region.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=00"
        );
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, endpoint: endpoint.to_owned(), authorization }
    }

    /// Makes a call, which must succeed. Names and values must not need escaping, as those of EC2 do not.
    pub async fn call(&self, action: &str, parameters: &[(String, String)]) -> Result<String> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            write!(body, "&{name}={value}")?;
        }
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, &self.authorization)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(body))?;
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
