//! For whom something is rendered, and which rules are for it.
//!
//! Paths and addresses of repositories may be written by whoever wants more than is theirs: what steps upward, or is
//! read in more than one way, is taken for not known.

use super::matches;

/// For whom something is rendered. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The project of Argo CD, or another tenant.
    pub project: String,
    /// The namespace that the objects are for.
    pub namespace: String,
    /// The address of the repository.
    pub repository: String,
    /// The path in it.
    pub path: String,
}

/// The origins that a rule is for, as patterns: `None` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Patterns for projects.
    pub projects: Option<Vec<String>>,
    /// Patterns for namespaces.
    pub namespaces: Option<Vec<String>>,
    /// Patterns for addresses of repositories, which are compared without the user in them.
    pub repositories: Option<Vec<String>>,
    /// Patterns for paths: for the folder that is rendered, and not for what it may read beside that.
    pub paths: Option<Vec<String>>,
}

impl Match {
    /// Returns whether the rule is for an origin: all of its fields are ones that the patterns stand for. A field that is
    /// not known is one for the pattern `*` alone.
    #[must_use]
    pub fn is_for(&self, origin: &Origin) -> bool {
        is_one(self.projects.as_ref(), &origin.project)
            && is_one(self.namespaces.as_ref(), &origin.namespace)
            && is_one(
                self.repositories
                    .as_ref()
                    .map(|all| all.iter().map(|text| repository_pattern(text)).collect())
                    .as_ref(),
                &repository(&origin.repository),
            )
            && is_one(self.paths.as_ref(), &path(&origin.path))
    }
}

impl std::fmt::Display for Origin {
    /// Writes what is known, as a rule would have it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (repository, path) = (repository(&self.repository), path(&self.path));
        let fields = [
            ("projects", self.project.as_str()),
            ("namespaces", self.namespace.as_str()),
            ("repositories", repository.as_str()),
            ("paths", path.as_str()),
        ];
        let known = fields.iter().filter(|(_, text)| !text.is_empty());
        let known: Vec<_> =
            known.map(|(name, text)| format!("{name}: [{:?}]", crate::keys::said(text))).collect();
        write!(formatter, "{{{}}}", known.join(", "))
    }
}

fn is_one(patterns: Option<&Vec<String>>, text: &str) -> bool {
    patterns.is_none_or(|patterns| {
        patterns.iter().any(|pattern| pattern == "*" || (!text.is_empty() && matches(pattern, text)))
    })
}

/// Returns the address of a repository as it is compared: without the user, the port if it is that of the scheme, and a
/// slash at the end, and with a scheme and host in small letters; empty if it can be read in more than one way.
fn repository(address: &str) -> String {
    let address = address.strip_suffix('/').unwrap_or(address);
    let is_plain = !address.contains(['\\', '?', '#', ' ', '%']) && !address.chars().any(char::is_control);
    if !is_plain {
        return String::new();
    }
    let (head, path) = match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let Some(host) = host_of(&scheme.to_ascii_lowercase(), host) else { return String::new() };
            (format!("{}://{host}", scheme.to_ascii_lowercase()), path.map(|path| ('/', path)))
        }
        // As SSH has it: a host, and a path behind a colon.
        None => match address.split_once(':') {
            Some((host, path)) if !host.contains('/') => {
                let (user, host) = host.rsplit_once('@').map_or(("", host), |(user, host)| (user, host));
                let at = if user.is_empty() { "" } else { "@" };
                (format!("{user}{at}{}", host.to_ascii_lowercase()), Some((':', path)))
            }
            _ => (String::new(), Some(('/', address))),
        },
    };
    let Some((mark, path)) = path else { return head };
    let inside = if head.is_empty() || mark == ':' { path.strip_prefix('/').unwrap_or(path) } else { path };
    if inside.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return String::new();
    }
    if head.is_empty() { path.to_owned() } else { format!("{head}{mark}{path}") }
}

/// Returns a host, with its port unless that is the one of the scheme; `None` if the port is none.
fn host_of(scheme: &str, authority: &str) -> Option<String> {
    let is_bracketed = authority.ends_with(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !is_bracketed => (host, port),
        _ => (authority, ""),
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if port.is_empty() {
        return Some(host.to_owned());
    }
    let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|_| is_number)?;
    let is_default = PORTS.contains(&(scheme, port));
    Some(if is_default { host.to_owned() } else { format!("{host}:{port}") })
}

/// Returns a pattern for repositories with its scheme and host as they are compared.
fn repository_pattern(pattern: &str) -> String {
    let Some((scheme, rest)) = pattern.split_once("://") else { return pattern.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // What has stars for a port has no other form.
    let authority = host_of(&scheme, authority).unwrap_or_else(|| authority.to_ascii_lowercase());
    format!("{scheme}://{authority}{path}")
}

/// Returns a path as it is compared: `.` for the root, and nothing if it leads out of it.
fn path(path: &str) -> String {
    let start = if path.starts_with('/') { "/" } else { "" };
    match crate::render::normalized("", path.trim_start_matches('/')) {
        _ if path.is_empty() => String::new(),
        None => String::new(),
        Some(inside) if inside.is_empty() && start.is_empty() => ".".to_owned(),
        Some(inside) => format!("{start}{inside}"),
    }
}

/// The ports that schemes have if none is given.
const PORTS: [(&str, u16); 4] = [("git", 9418), ("http", 80), ("https", 443), ("ssh", 22)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_matches_the_star_alone() {
        let patterns = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        let origin = |project: &str| Origin { project: project.to_owned(), ..Origin::default() };
        for (projects, project, expected) in [
            (None, "", true),
            (None, "a", true),
            (patterns(&["*"]), "", true),
            (patterns(&["**"]), "", false),
            (patterns(&[""]), "", false),
            (patterns(&["a*"]), "", false),
            (patterns(&["b", "a*"]), "ab", true),
            (patterns(&["b"]), "ab", false),
        ] {
            let rule = Match { projects: projects.clone(), ..Match::default() };
            assert_eq!(rule.is_for(&origin(project)), expected, "{projects:?} {project:?}");
        }
        let both = Match { projects: patterns(&["a"]), namespaces: patterns(&["b"]), ..Match::default() };
        assert!(!both.is_for(&origin("a")), "all fields count");
    }

    #[test]
    fn paths_and_repositories_are_compared_in_one_form() {
        for (text, expected) in [
            ("apps/team-a/../team-b", "apps/team-b"),
            ("apps/./a//b/", "apps/a/b"),
            ("../x", ""),
            ("/srv/../..", ""),
            ("/srv/apps", "/srv/apps"),
            (".", "."),
            ("", ""),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
        for (text, expected) in [
            ("https://git.example/team/a.git", "https://git.example/team/a.git"),
            ("https://user:token@git.example/a", "https://git.example/a"),
            ("https://git.example@evil.example/a", "https://evil.example/a"),
            ("https://git.example/team-a/../team-b", ""),
            ("https://git.example/team-a/%2E%2e/team-b", ""),
            ("https://git.example\\@evil.example", ""),
            ("git@git.example:team/a.git", "git@git.example:team/a.git"),
            ("file:///srv/git", "file:///srv/git"),
            ("HTTPS://GIT.Example:443/Team/a.git", "https://git.example/Team/a.git"),
            ("https://git.example.:0443/team/a/", "https://git.example/team/a"),
            ("ssh://git@git.example:22/a", "ssh://git.example/a"),
            ("https://git.example:8443/a", "https://git.example:8443/a"),
            ("https://[::1]:443/a", "https://[::1]/a"),
            ("https://[::1]/a", "https://[::1]/a"),
            ("https://git.example:x/a", ""),
            ("https://git.example//team/a", ""),
            ("https://git.example/./team", ""),
            ("https://git.example/%74eam/a", ""),
            ("git@GIT.example:team/a.git", "git@git.example:team/a.git"),
            ("git@git.example:team//a.git", ""),
            ("/srv/git", "/srv/git"),
            ("", ""),
        ] {
            assert_eq!(repository(text), expected, "{text}");
        }
    }

    #[test]
    fn another_spelling_of_a_repository_is_for_the_same_rule() {
        let rule = |pattern: &str| Match { repositories: Some(vec![pattern.to_owned()]), ..Match::default() };
        let origin = |text: &str| Origin { repository: text.to_owned(), ..Origin::default() };
        for pattern in ["https://git.example/team/*", "HTTPS://Git.Example:443/team/*"] {
            for text in ["https://git.example/team/a", "https://u@GIT.example:443/team/a/"] {
                assert!(rule(pattern).is_for(&origin(text)), "{pattern} {text}");
            }
        }
        assert!(rule("https://*:8*/x").is_for(&origin("https://h:80/x")));
        assert!(rule("*").is_for(&origin("https://git.example/%74eam/a")), "what is not known");
        assert!(!rule("https://*").is_for(&origin("https://git.example/%74eam/a")));
    }

    #[test]
    fn an_origin_is_told_as_a_rule_would_have_it() {
        let origin = Origin {
            project: "a".to_owned(),
            repository: "https://u:secret@h/x".to_owned(),
            ..Origin::default()
        };
        assert_eq!(origin.to_string(), r#"{projects: ["a"], repositories: ["https://h/x"]}"#);
        assert_eq!(Origin::default().to_string(), "{}");
    }
}
