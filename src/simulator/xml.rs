//! Writes the XML that EC2 and STS answer with. Knows elements and escaping, and nothing of what they mean.

use std::fmt::Display;

use quick_xml::escape::escape;

/// The content of an element that is being written.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// Content without any element yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// `<name>value</name>`, escaped; the empty string gives `<name/>`, as AWS writes it.
    pub(super) fn text(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        self.element(name, |inner| inner.0.push_str(&escape(value.as_str())));
    }

    /// [`Xml::text`] when there is a value, and nothing when there is none.
    pub(super) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name>…</name>`; `<name/>` when `content` writes nothing.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        // Written in place: a listing is a quarter of a megabyte, several elements deep.
        let before = self.0.len();
        self.0.extend(["<", name, ">"]);
        let inside = self.0.len();
        content(self);
        if self.0.len() == inside {
            self.0.truncate(before);
            self.0.extend(["<", name, "/>"]);
        } else {
            self.0.extend(["</", name, ">"]);
        }
    }

    /// `<name><item>…</item>…</name>`, EC2's form of a list; `<name/>` for an empty one.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |list| {
            for item in items {
                list.element("item", |inner| write(inner, item));
            }
        });
    }

    /// Continues with what has been written elsewhere.
    pub(super) fn append(&mut self, more: &Self) {
        self.0.push_str(&more.0);
    }

    /// The whole document: `root` with its namespace around what has been written.
    pub(super) fn into_document(self, root: &str, namespace: &str) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{namespace}\">{}</{root}>", self.0)
    }

    /// The whole document without a namespace, which is how EC2 writes its errors.
    pub(super) fn into_plain_document(self, root: &str) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{}</{root}>", self.0)
    }
}
