//! The policy that a renderer follows: what is allowed for whom, decided anew for every request.
//!
//! Invariants: without a rule for it nothing is rendered; keys, credentials and servers are those of the rule alone; a
//! policy that cannot be read any more is told, and the one before counts until it can.

mod access;
mod file;

use std::sync::Arc;
use std::time::{Duration, Instant};

use selkie::render::{Limits, Origin, PolicyRule, Rule, Warning};

use super::helm::Helm;
use super::renderer::Request;

pub use access::{Access, AccessCache, SealingKeysError, Services, sealing_keys};
pub use file::{PolicyFile, PolicyFileError};

/// What is allowed for whom.
#[derive(Default)]
pub enum RenderPolicy {
    /// What a file says.
    File(PolicyFile),
    /// What the renderer is set to, for everybody: whoever started it says what it may.
    #[default]
    None,
}

/// What is allowed for a request.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The name of the mode, if the policy or the request says one.
    pub mode: Option<&'static str>,
    /// The rule, if there is a policy.
    pub rule: Option<Arc<PolicyRule>>,
    /// What to tell about the policy.
    pub warning: Option<Warning>,
}

/// Why something is not rendered. What would allow it is said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyRefusal {
    /// A mode is asked for that the rule does not allow.
    #[error("{title} of the policy {policy} does not allow the mode {wanted}; it would if its `modes` were [{allowed}, {wanted}]", title = .rule)]
    Mode {
        /// The policy.
        policy: String,
        /// The rule.
        rule: String,
        /// The modes that it allows.
        allowed: String,
        /// The mode that was asked for.
        wanted: String,
    },
    /// No rule is for the origin.
    #[error("no rule of the policy {policy} is for this; one with `match: {origin}` would be")]
    NoRule {
        /// The policy.
        policy: String,
        /// The origin, as a rule would have it.
        origin: String,
    },
    /// A mode is asked for, and there is no policy that allows to choose.
    #[error("the mode {wanted} cannot be asked for; a policy, --policy, can allow it")]
    NotOffered {
        /// The mode that was asked for.
        wanted: String,
    },
    /// What is not the same each time is asked for.
    #[error("{rule} of the policy does not allow --allow-random; it would with `random: true`")]
    Random {
        /// The rule.
        rule: String,
    },
    /// A mode is allowed that this program was not given the flags for.
    #[error("the mode {mode} is allowed, but not set up here: it needs {flags}")]
    NotSetUp {
        /// The mode.
        mode: &'static str,
        /// The flags.
        flags: &'static str,
    },
}

impl RenderPolicy {
    /// Decides what is allowed for an origin that asks for a mode, or for none.
    ///
    /// # Errors
    /// If it is nothing, or not that mode.
    pub fn decide(&self, origin: &Origin, wanted: Option<&'static str>) -> Result<Decision, PolicyRefusal> {
        let Self::File(file) = self else {
            return Ok(Decision { mode: wanted, ..Decision::default() });
        };
        let (policy, warning) = file.current();
        let name = file.path().display().to_string();
        let Some(rule) = policy.rule(origin) else {
            return Err(PolicyRefusal::NoRule { policy: name, origin: origin.to_string() });
        };
        let Some(mode) = rule.mode(wanted) else {
            let wanted = wanted.unwrap_or_default().to_owned();
            let (rule, allowed) = (rule.title(), rule.modes.join(", "));
            return Err(PolicyRefusal::Mode { policy: name, rule, allowed, wanted });
        };
        Ok(Decision { mode: Some(mode), rule: Some(Arc::clone(rule)), warning })
    }
}

impl Decision {
    /// Returns what the engine allows: what the rule says, or `otherwise`.
    #[must_use]
    pub fn rule<'a>(&'a self, otherwise: &'a Rule) -> &'a Rule {
        self.rule.as_ref().map_or(otherwise, |rule| &rule.rule)
    }

    /// Returns how much is read: what the rule says, or `otherwise`. Of all bytes together the rule has to say it.
    #[must_use]
    pub fn limits(&self, otherwise: &Limits) -> Limits {
        let Some(rule) = &self.rule else { return otherwise.clone() };
        Limits { total_bytes: rule.total_bytes.unwrap_or(otherwise.total_bytes), ..rule.limits.clone() }
    }

    /// Returns how a chart is rendered: whether values may be others each time, the rule says.
    ///
    /// # Errors
    /// If that is asked for, and the policy does not allow it.
    pub fn helm(&self, how: &Helm, rule: &Rule) -> Result<Helm, PolicyRefusal> {
        let is_random = |argument: &String| argument.split('=').next() == Some(RANDOM);
        let mut how = how.clone();
        match &self.rule {
            Some(own) if !rule.random && how.arguments.iter().any(is_random) => {
                return Err(PolicyRefusal::Random { rule: own.title() });
            }
            _ if rule.random => how.arguments.push(RANDOM.to_owned()),
            _ => {}
        }
        Ok(how)
    }

    /// Returns the keys and credentials that may be used: what the rule says, or `otherwise`.
    #[must_use]
    pub fn access(&self, otherwise: impl FnOnce() -> Access) -> Access {
        self.rule.as_ref().map_or_else(otherwise, |rule| Access::of_rule(rule))
    }

    /// Returns a request with the deadline that the rule sets, if it is the earlier one.
    #[must_use]
    pub fn request(&self, request: &Request) -> Request {
        let seconds = self.rule.as_ref().and_then(|rule| rule.seconds);
        let own = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let deadline = request.deadline.into_iter().chain(own).min();
        Request { deadline, ..request.clone() }
    }
}

/// The argument that lets values be others each time.
const RANDOM: &str = "--allow-random";

#[cfg(test)]
mod tests {
    use selkie::format::Format;
    use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
    use selkie::keys::{KeyGroup, MasterKey};
    use selkie::render::{EmitMode, Memory, RenderError};
    use selkie::sops::{Metadata, Pattern, Selector};

    use super::*;
    use crate::render::renderer::{Renderer, RendererError};

    fn policy(text: &str) -> (tempfile::TempDir, RenderPolicy) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, text).expect("a file");
        (folder, RenderPolicy::File(PolicyFile::open(path).expect("a policy")))
    }

    fn of_project(name: &str) -> Origin {
        Origin { project: name.to_owned(), ..Origin::default() }
    }

    #[test]
    fn a_refusal_names_the_rule_and_what_would_allow_it() {
        let text =
            "rules: [{name: shop, match: {projects: [shop]}, modes: [reseal, defer], limits: {seconds: 5}}]";
        let (folder, policy) = policy(text);
        let name = folder.path().join("policy.yaml").display().to_string();
        let decision = policy.decide(&of_project("shop"), None).expect("allowed");
        assert_eq!(decision.mode, Some("reseal"));
        assert_eq!(policy.decide(&of_project("shop"), Some("defer")).expect("allowed").mode, Some("defer"));
        let refused = policy.decide(&of_project("shop"), Some("plain")).expect_err("not allowed");
        let expected = format!(
            "rule 1 (shop) of the policy {name} does not allow the mode plain; it would if its `modes` were [reseal, defer, plain]"
        );
        assert_eq!(refused.to_string(), expected);
        let refused = policy.decide(&of_project("other"), None).expect_err("not allowed");
        let expected = format!(
            "no rule of the policy {name} is for this; one with `match: {{projects: [\"other\"]}}` would be"
        );
        assert_eq!(refused.to_string(), expected);
        let long =
            Request { deadline: Some(Instant::now() + Duration::from_secs(3600)), ..Request::default() };
        let short = Request { deadline: Some(Instant::now()), ..Request::default() };
        assert!(decision.request(&long).deadline < long.deadline);
        assert!(decision.request(&Request::default()).deadline.is_some());
        assert_eq!(decision.request(&short).deadline, short.deadline);
    }

    #[test]
    fn without_a_policy_all_is_as_the_renderer_is_set() {
        let decision = RenderPolicy::None.decide(&Origin::default(), None).expect("allowed");
        assert!(decision.rule.is_none() && decision.mode.is_none());
        let (rule, limits) = (Rule { least_secrets: 3, ..Rule::default() }, Limits::default());
        assert_eq!((decision.rule(&rule), decision.limits(&limits)), (&rule, limits));
    }

    #[test]
    fn every_tenant_has_its_own_keys_and_modes() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut files = Memory::default();
        let mut recipients = Vec::new();
        for team in ["a", "b"] {
            let identity = generate(IdentityKind::X25519, &mut rand_core::OsRng);
            std::fs::write(at(&format!("{team}.agekey")), identity.secret.expose_secret()).expect("a file");
            let text = format!(
                "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {team}\nstringData:\n    p: of-{team}\n"
            );
            let keys = MasterKey::parse_list(&selkie::keys::age::KIND, &identity.recipient).expect("a key");
            let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
            metadata.selector = Selector::EncryptedRegex(Pattern::parse("^stringData$").expect("a pattern"));
            let (service, now) = (AgeService::new(Identities::new()), "2026-01-02T03:04:05Z");
            let encrypted = selkie::encrypt(
                text.as_str(),
                Format::Yaml,
                metadata,
                &[&service],
                now,
                &mut rand_core::OsRng,
            );
            files
                .insert(&format!("{team}/secret.yaml"), encrypted.expect("it is encrypted"))
                .expect("a path");
            recipients.push(identity.recipient);
        }
        let text = format!(
            "rules:
- {{match: {{projects: [a]}}, modes: [plain], keys: [{a}]}}
- {{match: {{projects: [b]}}, modes: [redact, reseal], keys: [{b}]}}
- {{match: {{projects: [c]}}, modes: [plain], keys: [{a}], recipients: [{other}]}}
- {{match: {{projects: [d]}}, modes: [plain], keys: [{a}], leastSecrets: 2}}
",
            a = at("a.agekey").display(),
            b = at("b.agekey").display(),
            other = recipients[1],
        );
        std::fs::write(at("policy.yaml"), text).expect("a file");
        let mut renderer = Renderer::new(Vec::new(), EmitMode::Plain);
        renderer.mode_is_open = true;
        renderer.further_modes = vec![EmitMode::Fake, EmitMode::Redact];
        renderer.policy = RenderPolicy::File(PolicyFile::open(at("policy.yaml")).expect("a policy"));
        let render = |project: &str, folder: &str, mode| {
            let request = Request {
                origin: of_project(project),
                folder: folder.to_owned(),
                mode,
                ..Request::default()
            };
            renderer.render(&files, &request).map(|emission| emission.objects[0].to_string())
        };
        assert!(render("a", "a", None).expect("its own").contains("b2YtYQ=="));
        let refused = render("a", "b", None);
        assert!(matches!(refused, Err(RendererError::Render(RenderError::Recover { .. }))), "{refused:?}");
        let redacted = render("b", "b", None).expect("its own");
        assert!(!redacted.contains("b2YtYg==") && !redacted.contains("ENC["), "{redacted}");
        let refused = render("b", "b", Some("plain"));
        let is_mode = matches!(&refused, Err(RendererError::Policy(PolicyRefusal::Mode { .. })));
        assert!(is_mode, "{refused:?}");
        let refused = render("b", "b", Some("reseal"));
        let is_mode = matches!(&refused, Err(RendererError::Policy(PolicyRefusal::NotSetUp { .. })));
        assert!(is_mode, "{refused:?}");
        let refused = render("c", "a", None);
        assert!(matches!(refused, Err(RendererError::Render(RenderError::Key { .. }))), "{refused:?}");
        let refused = render("d", "a", None);
        let is_few = matches!(refused, Err(RendererError::Render(RenderError::TooFewSecrets { .. })));
        assert!(is_few, "{refused:?}");
        let refused = render("", "a", None);
        let is_none = matches!(&refused, Err(RendererError::Policy(PolicyRefusal::NoRule { .. })));
        assert!(is_none, "{refused:?}");
    }

    #[test]
    fn a_rule_says_whether_values_may_be_random() {
        let rules = "rules:
- {match: {projects: [a]}, modes: [plain]}
- {match: {projects: [b]}, modes: [plain], random: true, network: true}
";
        let (_folder, policy) = policy(rules);
        let helm = |project: &str, argument: &str| {
            let decision = policy.decide(&of_project(project), None).expect("allowed");
            let how = Helm { arguments: vec![argument.to_owned()], ..Helm::default() };
            let flags = Rule { network: true, random: true, ..Rule::default() };
            let rule = decision.rule(&flags);
            (rule.network, decision.helm(&how, rule).map(|how| how.arguments))
        };
        let refused = || Err(PolicyRefusal::Random { rule: "rule 1".to_owned() });
        assert_eq!(helm("a", "--skip-crds"), (false, Ok(vec!["--skip-crds".to_owned()])));
        assert_eq!(helm("a", "--allow-random"), (false, refused()));
        assert_eq!(helm("a", "--allow-random=true"), (false, refused()));
        let random = Ok(vec!["--skip-crds".to_owned(), "--allow-random".to_owned()]);
        assert_eq!(helm("b", "--skip-crds"), (true, random));
    }

    #[test]
    fn only_the_sealing_keys_of_a_rule_are_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing").display().to_string();
        let text = format!(
            "rules:\n- {{match: {{projects: [a]}}, modes: [plain], sealingKeys: ['{missing}']}}\n- {{match: {{}}, modes: [plain]}}\n"
        );
        let (_folder, policy) = policy(&text);
        let mut renderer = Renderer::new(Vec::new(), EmitMode::Plain);
        renderer.policy = policy;
        // With these, a SealedSecret that they do not open is refused.
        renderer.sealing_keys = Some(selkie::sealed::KeyRegistry::new());
        let mut files = Memory::default();
        let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\nspec: {encryptedData: {a: AgBB}}\n";
        files.insert("a.yaml", sealed).expect("a path");
        let render = |project: &str| {
            let request = Request { origin: of_project(project), ..Request::default() };
            renderer.render(&files, &request).map(|emission| emission.objects.len())
        };
        assert!(matches!(render("a"), Err(RendererError::SealingKeys(_))));
        assert_eq!(render("b").expect("it is passed on"), 1);
    }

    #[test]
    fn nothing_is_done_for_who_has_gone() {
        use std::sync::atomic::{AtomicBool, Ordering};

        /// Files whose reader goes away.
        struct Leaving(Memory, Arc<AtomicBool>);

        impl selkie::render::Files for Leaving {
            fn paths(&self) -> Vec<String> {
                self.0.paths()
            }

            fn read(&self, path: &str) -> Result<selkie::secret::SecretBytes, selkie::render::FilesError> {
                self.1.store(true, Ordering::Relaxed);
                self.0.read(path)
            }
        }

        let mut files = Memory::default();
        files.insert("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").expect("a path");
        let files = Leaving(files, Arc::default());
        let request = Request { cancel: Some(Arc::clone(&files.1)), ..Request::default() };
        assert!(request.is_wanted());
        let renderer = Renderer::new(Vec::new(), EmitMode::Redact);
        assert!(matches!(renderer.render(&files, &request), Err(RendererError::Cancelled)));
        assert!(!request.is_wanted());
    }

    #[test]
    fn servers_take_less_unless_a_rule_says_more() {
        let rules = "rules:
- {match: {projects: [a]}, modes: [plain], limits: {files: 7}}
- {match: {}, modes: [plain], limits: {totalBytes: 1234}}
";
        let (_folder, policy) = policy(rules);
        let own = Limits { total_bytes: 99, files: 1, ..Limits::default() };
        let limits = |project: &str| {
            let limits = policy.decide(&of_project(project), None).expect("allowed").limits(&own);
            (limits.files, limits.total_bytes)
        };
        assert_eq!((limits("a"), limits("b").1), ((7, 99), 1234));
    }

    #[test]
    fn without_a_policy_only_what_asks_for_no_keys_can_be_asked_for() {
        let mut renderer = Renderer::new(Vec::new(), EmitMode::Redact);
        renderer.further_modes = vec![EmitMode::Fake, EmitMode::Plain];
        let decide = |mode| {
            let request = Request { mode, ..Request::default() };
            renderer.decide(&request).map(|(_, mode)| mode.name())
        };
        assert_eq!(decide(None), Ok("redact"));
        assert_eq!(decide(Some("fake")), Ok("fake"));
        assert_eq!(decide(Some("plain")), Err(PolicyRefusal::NotOffered { wanted: "plain".to_owned() }));
    }
}
