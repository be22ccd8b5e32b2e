//! URLs as Go's `net/url` takes them apart and puts them together.

use crate::secret::SecretBytes;
use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::quote::quoted;
use crate::template::value::{Text, Value};

type Result = std::result::Result<Value, Failure>;

pub fn parse(call: &mut Call<'_, '_>) -> Result {
    let text = call.text(0);
    let parts = Parts::parse(text).map_err(|fault| {
        let is_public = call.is_public(0);
        // Go looks at the fragment last.
        let read = if Parts::parse(cut(text, b'#').0).is_err() { cut(text, b'#').0 } else { text };
        let shown = if is_public { quoted(read) } else { HIDDEN.to_owned() };
        format!("unable to parse url: parse {shown}: {}", fault.message(is_public))
    })?;
    let dict = call.machine.dict()?;
    let user = parts.user.as_ref().map(User::text).unwrap_or_default();
    let hostname = hostname(&parts.host).into();
    let fields = [
        ("fragment", parts.fragment),
        ("host", parts.host),
        ("hostname", hostname),
        ("opaque", parts.opaque),
        ("path", parts.path),
        ("query", parts.query),
        ("scheme", parts.scheme),
        ("userinfo", user),
    ];
    for (name, part) in fields {
        dict.set(Text::public(name), Value::text(part));
    }
    Ok(Value::Dict(dict))
}

pub fn join(call: &mut Call<'_, '_>) -> Result {
    let field = |name: &str| match call.dict(0).and_then(|dict| dict.get(name.as_bytes())) {
        None => Ok(Text::public("")),
        Some(Value::Text(text)) => Ok(text),
        Some(value) if value.is_nil() => {
            Err("runtime error: invalid memory address or nil pointer dereference".into())
        }
        Some(value) => {
            let kind = value.kind_name();
            Err(Failure::Message(format!(
                "unable to parse {name} key, must be of type string, but {kind} found"
            )))
        }
    };
    let (scheme, host, path) = (field("scheme")?, field("host")?, field("path")?);
    let (query, opaque, fragment) = (field("query")?, field("opaque")?, field("fragment")?);
    let userinfo = field("userinfo")?;
    let user = if userinfo.bytes().is_empty() {
        None
    } else {
        let text = [b"proto://", userinfo.bytes(), b"@host"].concat();
        let parts = Parts::parse(&text).map_err(|fault| {
            format!("unable to parse userinfo in dict: parse {HIDDEN}: {}", fault.message(false))
        })?;
        parts.user
    };
    let mut out = SecretBytes::new();
    if !scheme.bytes().is_empty() {
        out.extend_from_slice(scheme.bytes());
        out.push(b':');
    }
    if opaque.bytes().is_empty() {
        let (host, path) = (host.bytes(), path.bytes());
        if !host.is_empty() || user.is_some() || (!scheme.bytes().is_empty() && !path.is_empty()) {
            out.push_str("//");
            if let Some(user) = &user {
                out.extend_from_slice(user.text().expose_secret());
                out.push(b'@');
            }
            escape(&mut out, host, Mode::Host);
        }
        if !path.is_empty() && path[0] != b'/' && !host.is_empty() {
            out.push(b'/');
        }
        let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
        if out.is_empty() && first.contains(&b':') {
            out.push_str("./");
        }
        if path == b"*" {
            out.push(b'*');
        } else {
            escape(&mut out, path, Mode::Path);
        }
    } else {
        out.extend_from_slice(opaque.bytes());
    }
    if !query.bytes().is_empty() {
        out.push(b'?');
        out.extend_from_slice(query.bytes());
    }
    if !fragment.bytes().is_empty() {
        out.push(b'#');
        escape(&mut out, fragment.bytes(), Mode::Fragment);
    }
    call.give(out)
}

/// Why text is no URL.
enum UrlFault {
    Character(u8),
    Escape(Vec<u8>),
    Message(&'static str),
    Port(Vec<u8>),
}

impl UrlFault {
    fn message(&self, is_public: bool) -> String {
        let shown = |part: &[u8]| if is_public { quoted(part) } else { HIDDEN.to_owned() };
        match self {
            Self::Character(byte) => format!("invalid character {} in host name", shown(&[*byte])),
            Self::Escape(part) => format!("invalid URL escape {}", shown(part)),
            Self::Message(message) => (*message).to_owned(),
            Self::Port(part) => format!("invalid port {} after host", shown(part)),
        }
    }
}

struct User {
    name: SecretBytes,
    password: Option<SecretBytes>,
}

impl User {
    fn text(&self) -> SecretBytes {
        let mut out = SecretBytes::new();
        escape(&mut out, self.name.expose_secret(), Mode::User);
        if let Some(password) = &self.password {
            out.push(b':');
            escape(&mut out, password.expose_secret(), Mode::User);
        }
        out
    }
}

#[derive(Default)]
struct Parts {
    scheme: SecretBytes,
    opaque: SecretBytes,
    user: Option<User>,
    host: SecretBytes,
    path: SecretBytes,
    query: SecretBytes,
    fragment: SecretBytes,
}

type Parsed<T> = std::result::Result<T, UrlFault>;

impl Parts {
    fn parse(text: &[u8]) -> Parsed<Self> {
        let mut parts = Self::default();
        let (text, fragment) = cut(text, b'#');
        parts.take(text)?;
        parts.fragment = unescape(fragment, Mode::Fragment)?;
        Ok(parts)
    }

    fn take(&mut self, text: &[u8]) -> Parsed<()> {
        if text.iter().any(|byte| matches!(byte, 0..=0x1F | 0x7F)) {
            return Err(UrlFault::Message("net/url: invalid control character in URL"));
        }
        if text == b"*" {
            self.path = "*".into();
            return Ok(());
        }
        let (scheme, rest) = scheme_of(text)?;
        self.scheme = scheme.to_ascii_lowercase().into();
        let (mut rest, query) = cut(rest, b'?');
        self.query = query.into();
        if !rest.starts_with(b"/") {
            if !scheme.is_empty() {
                self.opaque = rest.into();
                return Ok(());
            }
            if rest.split(|&byte| byte == b'/').next().unwrap_or_default().contains(&b':') {
                return Err(UrlFault::Message("first path segment in URL cannot contain colon"));
            }
        }
        if (!scheme.is_empty() || !rest.starts_with(b"///")) && rest.starts_with(b"//") {
            let authority = &rest[2..];
            let end = authority.iter().position(|&byte| byte == b'/').unwrap_or(authority.len());
            self.authority(&authority[..end])?;
            rest = &authority[end..];
        }
        self.path = unescape(rest, Mode::Path)?;
        Ok(())
    }

    fn authority(&mut self, text: &[u8]) -> Parsed<()> {
        let Some(at) = text.iter().rposition(|&byte| byte == b'@') else {
            self.host = host_of(text)?;
            return Ok(());
        };
        self.host = host_of(&text[at + 1..])?;
        let userinfo = &text[..at];
        let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
        if !userinfo.iter().all(is_valid) {
            return Err(UrlFault::Message("net/url: invalid userinfo"));
        }
        let (name, password) = cut(userinfo, b':');
        let password = userinfo.contains(&b':').then(|| unescape(password, Mode::User)).transpose()?;
        self.user = Some(User { name: unescape(name, Mode::User)?, password });
        Ok(())
    }
}

/// Cuts text at the first of a byte.
fn cut(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|&other| other == byte) {
        None => (text, &[]),
        Some(at) => (&text[..at], &text[at + 1..]),
    }
}

fn scheme_of(text: &[u8]) -> Parsed<(&[u8], &[u8])> {
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err(UrlFault::Message("missing protocol scheme")),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok((&[], text))
}

fn host_of(text: &[u8]) -> Parsed<SecretBytes> {
    let is_port =
        |port: &[u8]| port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit));
    let port = if text.starts_with(b"[") {
        let Some(end) = text.iter().rposition(|&byte| byte == b']') else {
            return Err(UrlFault::Message("missing ']' in host"));
        };
        &text[end + 1..]
    } else {
        text.iter().position(|&byte| byte == b':').map_or(&[][..], |at| &text[at..])
    };
    if !is_port(port) {
        return Err(UrlFault::Port(port.to_vec()));
    }
    unescape(text, Mode::Host)
}

fn hostname(host: &SecretBytes) -> &[u8] {
    let host = host.expose_secret();
    let port = host.iter().rposition(|&byte| byte == b':');
    let without_port = match port {
        Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
        _ => host,
    };
    without_port.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(without_port)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Fragment,
    Host,
    Path,
    User,
}

impl Mode {
    fn escapes(self, byte: u8) -> bool {
        match byte {
            b'-' | b'.' | b'_' | b'~' => false,
            _ if byte.is_ascii_alphanumeric() => false,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'['
            | b']' | b'<' | b'>' | b'"'
                if self == Self::Host =>
            {
                false
            }
            b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match self {
                Self::Fragment => false,
                Self::Host => true,
                Self::Path => byte == b'?',
                Self::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            },
            b'!' | b'(' | b')' | b'*' => self != Self::Fragment,
            _ => true,
        }
    }
}

fn escape(out: &mut SecretBytes, text: &[u8], mode: Mode) {
    for &byte in text {
        if mode.escapes(byte) {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(byte);
        }
    }
}

fn unescape(text: &[u8], mode: Mode) -> Parsed<SecretBytes> {
    let mut out = SecretBytes::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            if mode == Mode::Host && byte < 0x80 && mode.escapes(byte) {
                return Err(UrlFault::Character(byte));
            }
            out.push(byte);
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(UrlFault::Escape([b"%", &after[..after.len().min(2)]].concat()));
        };
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
        let value = digit(digits[0]) << 4 | digit(digits[1]);
        // Only what is no ASCII is escaped in host names, and the sign of a zone.
        if mode == Mode::Host && value < 0x80 && value != b'%' {
            return Err(UrlFault::Escape([b"%", digits].concat()));
        }
        out.push(value);
        rest = &after[2..];
    }
    Ok(out)
}
