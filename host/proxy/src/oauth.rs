//! OAuth metadata rewritten to the gateway's public URL.
//!
//! A client believes protected-resource metadata (RFC 9728) only if its `resource` is the URL that the client uses, which a server behind the
//! gateway does not know. With `public_url` set, `resource` and the URL of the metadata in challenges are rewritten, as far as they name the
//! server itself: a `resource` elsewhere is left alone, so that the client finds it out. Authorization servers are named as the server does.

mod challenge;
mod protected;
#[cfg(test)]
mod tests;
mod well_known;

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode, Uri};
use watchgate_mcp::json::{decode, escape_into, locate, splice};

pub(crate) use self::protected::ProtectedResource;
pub(crate) use self::well_known::find as well_known;
use crate::endpoint_event::mounting::Mounting;
use crate::endpoint_event::reference::{Reference, same_authority};
use crate::headers::{Content, content};

/// Metadata that is larger passes as it is; it is a handful of URLs.
pub(crate) const MAX_METADATA_BYTES: usize = 256 << 10;

/// Where protected-resource metadata is, unless a challenge says otherwise.
const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// A `public_url` that clients could not use: it has to be an `http` or `https` URL with a host, without query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public URL must be http:// or https:// with a host, and without a query")]
pub(crate) struct BadPublicUrl;

/// Rewrites what one server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct OauthRewrite {
    /// Scheme and authority of the public URL.
    origin: String,
    /// For a mounted server, with the whole path of the public URL in the place of the mount.
    mounting: Mounting,
    /// Path of the server's URL.
    url_path: String,
    /// Authorities of its endpoints.
    endpoints: Vec<String>,
}

impl OauthRewrite {
    /// For a server with this `public_url`. `url_path` and `endpoints` are the path and the authorities of its own URLs.
    ///
    /// # Errors
    /// When clients could not use the public URL.
    pub(crate) fn new(public_url: &str, mounting: Mounting, url_path: &str, endpoints: Vec<String>) -> Result<Self, BadPublicUrl> {
        let uri: Uri = public_url.parse().map_err(|_| BadPublicUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(BadPublicUrl) };
        if !matches!(scheme, "http" | "https") || uri.query().is_some() || authority.as_str().contains('@') || public_url.contains('#') {
            return Err(BadPublicUrl);
        }
        Ok(Self { origin: format!("{scheme}://{authority}"), mounting, url_path: url_path.to_owned(), endpoints })
    }

    /// Rewrites `resource_metadata` in the challenges of an answer. `host` is the `Host` that the server was sent: it may have made its URLs of
    /// it. Whether anything was changed.
    pub(crate) fn challenges(&self, headers: &mut HeaderMap, host: Option<&HeaderValue>) -> bool {
        let mut changed = false;
        for (name, value) in headers.iter_mut() {
            if name == WWW_AUTHENTICATE
                && let Some(new) = challenge::rewrite(value.as_bytes(), |url| self.public(url, host))
                && let Ok(new) = HeaderValue::from_bytes(&new)
            {
                *value = new;
                changed = true;
            }
        }
        changed
    }

    /// The metadata with the public URL as its `resource`; `None` when it is to be passed as it is.
    pub(crate) fn document(&self, body: &[u8], place: DocumentPlace, host: Option<&HeaderValue>) -> Option<Vec<u8>> {
        if place == DocumentPlace::Elsewhere && body.get(locate(body, "/authorization_servers").ok()?)?.first() != Some(&b'[') {
            return None;
        }
        let range = locate(body, "/resource").ok()?;
        let content = body.get(range.clone())?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let public = self.public(&decode(content)?, host)?;
        let mut new = vec![b'"'];
        escape_into(&mut new, &public);
        new.push(b'"');
        Some(splice(body, &[(range, new)]))
    }

    /// The public form of a URL of the server. `None` when it is not its own, or nothing leads there, or it is public already.
    fn public(&self, url: &str, host: Option<&HeaderValue>) -> Option<String> {
        let reference = Reference::parse(url)?;
        let authority = reference.authority?;
        let host = host.and_then(|host| host.to_str().ok());
        if !self.endpoints.iter().map(String::as_str).chain(host).any(|own| same_authority(own, authority)) {
            return None;
        }
        let path = self.public_path(authority, reference.path)?;
        let public = format!("{}{path}{}", self.origin, reference.rest);
        (public != url).then_some(public)
    }

    /// The path at the public origin for a path of the server's own URLs.
    fn public_path<'a>(&'a self, authority: &str, path: &'a str) -> Option<Cow<'a, str>> {
        let Some(mount) = self.mounting.seen_mount() else { return Some(path.into()) };
        // The server was told its public URL by its own configuration, at least but for the scheme.
        let inner = path.strip_prefix(PROTECTED_RESOURCE).unwrap_or(path);
        if !mount.is_empty() && is_below(inner, mount) && same_authority(authority, self.origin.split_once("://")?.1) {
            return Some(path.into());
        }
        // The whole server, or all that its URL stands for: for clients, all of the mount.
        if is_below(&self.url_path, path.trim_end_matches('/')) {
            return Some(mount.into());
        }
        self.mounting.told(path).or_else(|| self.mounting.to_client(path)).map(Cow::from)
    }
}

/// Whether a path is another one or below it.
fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How sure it is that a document is protected-resource metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentPlace {
    /// By its path.
    WellKnown,
    /// Servers may have it anywhere and say so in a challenge: it is what it has to be by its members.
    Elsewhere,
}

/// Whether an answer can be protected-resource metadata. `path` is what the server was asked for. No message of MCP answers a GET with JSON.
pub(crate) fn document_place(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap) -> Option<DocumentPlace> {
    if method != Method::GET || status != StatusCode::OK || content(headers) != Content::Json {
        return None;
    }
    let rest = path.strip_prefix(PROTECTED_RESOURCE);
    let is_well_known = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(if is_well_known { DocumentPlace::WellKnown } else { DocumentPlace::Elsewhere })
}
