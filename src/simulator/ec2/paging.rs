//! `MaxResults` and `NextToken`. A token holds the id that its page ended with, so pages stay right while items come and go.

use std::fmt::Write;

use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::xml::Xml;

const SMALLEST: i64 = 5;
const LARGEST: i64 = 1000;

/// The page that is asked for.
pub(super) struct Page {
    /// None: everything at once, which EC2 gives when nobody asks for pages.
    size: Option<usize>,
    after: Option<String>,
}

impl Page {
    /// Reads the two parameters. `ids` is EC2's name for the list of ids when one is given, which excludes pages.
    pub(super) fn read(params: &Params, ids: Option<&str>) -> Result<Self, ApiError> {
        let size = params.number("MaxResults")?;
        if let (Some(_), Some(ids)) = (size, ids) {
            return Err(errors::ids_with_max_results(ids));
        }
        let size = match size {
            None => None,
            Some(size) if size < SMALLEST => return Err(errors::max_results_too_small(size)),
            Some(size) if size > LARGEST => return Err(errors::max_results_too_large(size)),
            Some(size) => usize::try_from(size).ok(),
        };
        // SDKs' paginators may hand the empty token back that ends a listing; it is as good as none.
        let token = params.get("NextToken").filter(|token| !token.is_empty());
        let after = token.map(|token| unseal(token).ok_or_else(errors::invalid_next_token)).transpose()?;
        let is_page = after.is_some();
        Ok(Self { size: size.or(is_page.then_some(1000)), after })
    }

    /// The items of the page, of all items in the order of their keys; and writes `nextToken` when more follow.
    pub(super) fn cut<T>(&self, answer: &mut Xml, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Vec<T> {
        if let Some(after) = &self.after {
            items.retain(|item| key(item) > *after);
        }
        if let Some(size) = self.size
            && items.len() > size
        {
            items.truncate(size);
            answer.optional("nextToken", items.last().map(|last| seal(&key(last))));
        }
        items
    }
}

const SEAL: &str = "simulator";

/// Hex, so that nobody takes the token for something to build by hand.
fn seal(key: &str) -> String {
    format!("{SEAL}/{key}").bytes().fold(String::new(), |mut token, byte| {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
        token
    })
}

fn unseal(token: &str) -> Option<String> {
    if !token.is_ascii() || !token.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok()).collect();
    let text = String::from_utf8(bytes?).ok()?;
    text.strip_prefix(SEAL)?.strip_prefix('/').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn only_tokens_that_were_given_out_are_read() {
        assert_eq!(unseal(&seal("ami-0123456789abcdef0")).as_deref(), Some("ami-0123456789abcdef0"));
        for wrong in ["x", "00", "zz", "é", "616263"] {
            assert_eq!(unseal(wrong), None);
        }
    }
}
