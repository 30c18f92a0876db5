//! What a server says of its own paths in the head of an answer, put so that it leads through the gateway: `Location`, `Content-Location`, and the
//! `Path` of cookies.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::endpoint_event::mounting::Mounting;
use crate::endpoint_event::reference::{Reference, same_authority};

/// The server and the request that it answered.
pub(crate) struct Place<'a> {
    pub(crate) mounting: &'a Mounting,
    /// What the server was asked for, without query.
    pub(crate) asked: &'a str,
    /// Authorities that are the server itself: its endpoint's, and the `Host` that it was sent.
    pub(crate) own: [Option<&'a str>; 2],
    /// The `Host` that the client asked for.
    pub(crate) client_host: Option<&'a str>,
}

impl Place<'_> {
    /// Puts the fields right. Most answers have none of them.
    pub(crate) fn settle(&self, status: StatusCode, headers: &mut HeaderMap) {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            if let Some(value) = headers.get(&name)
                && let Some(changed) =
                    value.to_str().ok().and_then(|text| self.reference(text, status.is_redirection() && name == header::LOCATION))
                && let Ok(changed) = HeaderValue::from_str(&changed)
            {
                headers.insert(name, changed);
            }
        }
        if self.mounting.seen_mount().is_some() && headers.contains_key(header::SET_COOKIE) {
            self.settle_cookies(headers, &header::SET_COOKIE);
        }
    }

    /// Another reference; `None` where this one leads to the right place, or to another server.
    fn reference(&self, text: &str, is_redirection: bool) -> Option<String> {
        let reference = Reference::parse(text)?;
        if let Some(authority) = reference.authority
            && !self.own.iter().flatten().any(|own| same_authority(own, authority))
        {
            return None;
        }
        let path = reference.resolve(self.asked);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let turned = if is_redirection { self.mounting.follow(self.asked, &path) } else { None };
        let seen = turned.or_else(|| self.mounting.told(&path)).or_else(|| self.mounting.to_client(&path))?;
        let leads_here = reference.authority.is_none_or(|authority| self.client_host == Some(authority));
        if leads_here && seen == path && self.mounting.seen_mount().is_none() {
            return None;
        }
        Some(format!("{seen}{}", reference.rest))
    }

    fn settle_cookies(&self, headers: &mut HeaderMap, name: &HeaderName) {
        let cookies: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
        let mut changed = cookies.iter().map(|cookie| cookie.to_str().ok().and_then(|text| self.cookie(text))).peekable();
        if changed.peek().is_none() {
            return;
        }
        for (place, (cookie, changed)) in cookies.iter().zip(changed).enumerate() {
            let value = changed.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or_else(|| cookie.clone());
            if place == 0 {
                headers.insert(name.clone(), value);
            } else {
                headers.append(name.clone(), value);
            }
        }
    }

    /// A cookie whose `Path` (RFC 6265, 4.1.2.4) is one of the server's: it is sent back below the mount.
    fn cookie(&self, text: &str) -> Option<String> {
        let mount = self.mounting.seen_mount()?;
        let mut changed = false;
        let attributes: Vec<String> = text
            .split(';')
            .enumerate()
            .map(|(place, attribute)| match attribute.split_once('=') {
                // `/` holds below the mount as well.
                Some((name, path))
                    if place > 0 && name.trim().eq_ignore_ascii_case("path") && path.trim().starts_with('/') && path.trim() != "/" =>
                {
                    changed = true;
                    let seen = self.mounting.to_client(path.trim()).unwrap_or_else(|| mount.to_owned());
                    format!("{name}={}", if seen.is_empty() { "/" } else { &seen })
                }
                _ => attribute.to_owned(),
            })
            .collect();
        changed.then(|| attributes.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_config::{EndpointConfig, Mount, ServerConfig};

    fn mounting(path: &str, mount: Mount) -> Mounting {
        Mounting::of(&ServerConfig::new("weather", EndpointConfig::http([127, 0, 0, 1].into(), 1), path, mount))
    }

    fn settled(mounting: &Mounting, status: u16, field: (&'static str, &str)) -> String {
        let place = Place { mounting, asked: "/mcp", own: [Some("10.0.0.1:3001"), Some("gw.example")], client_host: Some("gw.example") };
        let mut headers = HeaderMap::new();
        headers.insert(field.0, HeaderValue::from_str(field.1).unwrap());
        place.settle(StatusCode::from_u16(status).unwrap(), &mut headers);
        headers[field.0].to_str().unwrap().to_owned()
    }

    #[test]
    fn locations_lead_through_the_mount() {
        let check = |location: &str, expected: &str| {
            assert_eq!(settled(&mounting("/mcp", Mount::Prefix), 307, ("location", location)), expected, "{location}");
        };
        check("/mcp/x?y#z", "/weather/x?y#z");
        check("http://10.0.0.1:3001/mcp/x", "/weather/x");
        check("http://gw.example/mcp/x", "/weather/x");
        check("mcp/x", "/weather/x");
        check("http://gw.example/mcp/", "/weather/");
        // Not the gateway's business: another server, another scheme, or no path below the mount.
        for kept in ["https://login.example/authorize?x", "ftp://10.0.0.1/mcp", "/login", "/a b"] {
            check(kept, kept);
        }
        assert_eq!(settled(&mounting("/mcp", Mount::Prefix), 201, ("content-location", "/mcp/1")), "/weather/1");
        // Only a redirection teaches what the mount stands for, and only one of who asked for that.
        assert_eq!(settled(&mounting("/mcp", Mount::Prefix), 201, ("location", "/mcp/")), "/mcp/");
        assert_eq!(settled(&mounting("/mcp", Mount::Prefix), 304, ("content-location", "/mcp/")), "/mcp/");
        assert_eq!(settled(&mounting("/mcp/x", Mount::Prefix), 307, ("location", "/mcp/x/")), "/mcp/x/");
    }

    #[test]
    fn at_the_root_only_the_servers_own_name_is_taken_out() {
        let check = |location: &str, expected: &str| {
            assert_eq!(settled(&mounting("", Mount::Root), 308, ("location", location)), expected, "{location}");
        };
        for kept in ["/mcp/", "mcp/", "http://gw.example/mcp/", "https://other.example/mcp/"] {
            check(kept, kept);
        }
        check("http://10.0.0.1:3001/mcp/?a=b", "/mcp/?a=b");
        check("http://10.0.0.1:3001", "/");
    }

    #[test]
    fn cookies_stay_below_the_mount() {
        let check = |cookie: &str, expected: &str| {
            assert_eq!(settled(&mounting("/mcp", Mount::Prefix), 200, ("set-cookie", cookie)), expected, "{cookie}");
        };
        check("a=1; Path=/mcp/x; HttpOnly", "a=1; Path=/weather/x; HttpOnly");
        check("a=1; path=/", "a=1; path=/");
        check("a=1; path=/elsewhere", "a=1; path=/weather");
        check("a=Path=/; Secure", "a=Path=/; Secure");
        assert_eq!(settled(&mounting("", Mount::Root), 200, ("set-cookie", "a=1; Path=/")), "a=1; Path=/");
    }
}
