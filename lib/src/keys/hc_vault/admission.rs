//! Whether a token may go to an address.

use super::address::{Server, cleaned};
use crate::keys::service::{Cause, ServiceError};
use crate::keys::shell::word;
use crate::keys::{KeySetup, Trust};

/// What `SOPS_HC_VAULT_ALLOWLIST` says.
enum Allowlist {
    All,
    Listed(Vec<String>),
    Nobody,
    Unset,
}

/// Fails if a token must not go to a server.
///
/// Those that the user named are admitted: by `VAULT_ADDR` or `BAO_ADDR`, on the command line, in a configuration.
/// The allowlist of sops admits others; what it says is all that counts where everybody is trusted, as in sops.
pub(super) fn admit(setup: &KeySetup, server: &Server) -> Result<(), ServiceError> {
    let allowlist = Allowlist::read(setup)?;
    let address = server.address();
    let is_named = is_named(setup, address);
    let is_admitted = match (&allowlist, &setup.trust) {
        (Allowlist::Nobody, _) => false,
        (Allowlist::All, _) => true,
        (Allowlist::Listed(listed), Trust::All) => Trust::Listed(listed.clone()).admits(address),
        (Allowlist::Listed(listed), Trust::Listed(_)) => {
            is_named || setup.admits(address) || Trust::Listed(listed.clone()).admits(address)
        }
        (Allowlist::Unset, _) => is_named || setup.admits(address),
    };
    if !is_admitted {
        return Err(refusal(setup, server, &allowlist));
    }
    if !is_named && matches!((&allowlist, &setup.trust), (Allowlist::Unset, Trust::All)) {
        setup.warn(&format!(
            "the token for Vault goes to {}, which the file names, and neither VAULT_ADDR nor the configuration: \
             set {ALLOWLIST} to the addresses that may have it",
            server.name()
        ));
    }
    warn_of_listeners(setup, server);
    Ok(())
}

/// Fails if nothing must be asked for a server, not even by an agent that the user named.
pub(super) fn admit_by_agent(setup: &KeySetup, server: &Server) -> Result<(), ServiceError> {
    let allowlist = Allowlist::read(setup)?;
    let is_admitted = match (&allowlist, &setup.trust) {
        (Allowlist::Nobody, _) => false,
        // As in sops, it is the address in the document that counts.
        (Allowlist::Listed(listed), Trust::All) => Trust::Listed(listed.clone()).admits(server.address()),
        _ => true,
    };
    if is_admitted { Ok(()) } else { Err(refusal(setup, server, &allowlist)) }
}

/// Says that others can read what is sent to a server, if they can.
pub(super) fn warn_of_listeners(setup: &KeySetup, server: &Server) {
    if !server.is_private() {
        setup.warn(&format!(
            "the token for Vault goes to {} as it is: whoever is on the way can read it",
            server.name()
        ));
    }
}

/// Returns whether an address is OpenBao's by what the environment says, and not Vault's.
pub(super) fn is_of_bao(setup: &KeySetup, address: &str) -> bool {
    let is_at = |name| Trust::Listed(setup.variable(name).into_iter().collect()).admits(address);
    is_at("BAO_ADDR") && !is_at("VAULT_ADDR")
}

fn is_named(setup: &KeySetup, address: &str) -> bool {
    let own = OWN.iter().filter_map(|name| setup.variable(name)).collect();
    Trust::Listed(own).admits(address) || setup.is_named(address)
}

fn refusal(setup: &KeySetup, server: &Server, allowlist: &Allowlist) -> ServiceError {
    let name = server.name();
    let is_for_users = !matches!((allowlist, &setup.trust), (Allowlist::Nobody, _) | (_, Trust::All));
    if let Some(config) = setup.doubted(server.address()).filter(|_| is_for_users) {
        let detail = format!(
            "no token was sent to {name}: only {} names it, which may have come with the file",
            cleaned(&config)
        );
        return ServiceError::new(Cause::Untrusted, detail).with_remedy(format!(
            "if {name} may have your token, name it in VAULT_ADDR or {ALLOWLIST}, or say that the configuration is \
             yours: `--config {}`",
            word(&config, "CONFIG")
        ));
    }
    let (why, places) = match allowlist {
        Allowlist::Nobody => (format!("{ALLOWLIST} admits nobody"), ALLOWLIST.to_owned()),
        Allowlist::Listed(_) => (format!("it is not in {ALLOWLIST}"), ALLOWLIST.to_owned()),
        Allowlist::All | Allowlist::Unset => (
            "the file names it, and neither VAULT_ADDR nor .sops.yaml".to_owned(),
            format!("VAULT_ADDR, {ALLOWLIST}, or the .sops.yaml of the working directory"),
        ),
    };
    ServiceError::new(Cause::Untrusted, format!("no token was sent to {name}: {why}"))
        .with_remedy(format!("if {name} may have your token, name it in {places}"))
}

impl Allowlist {
    fn read(setup: &KeySetup) -> Result<Self, ServiceError> {
        let Some(text) = setup.variable(ALLOWLIST) else { return Ok(Self::Unset) };
        match text.as_str() {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::Nobody),
            _ => {}
        }
        let listed: Vec<_> = text.split(',').map(|entry| entry.trim_matches(' ').to_owned()).collect();
        match listed.iter().position(String::is_empty) {
            None => Ok(Self::Listed(listed)),
            Some(at) => {
                let detail = format!("entry {} of {ALLOWLIST} is empty", at + 1);
                Err(ServiceError::new(Cause::Untrusted, detail))
            }
        }
    }
}

/// The variables that name the user's own server.
const OWN: [&str; 2] = ["VAULT_ADDR", "BAO_ADDR"];

const ALLOWLIST: &str = "SOPS_HC_VAULT_ALLOWLIST";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns whether an address is admitted, and how much is said.
    fn admitted(trust: Trust, variables: &'static [(&str, &str)], address: &str) -> (bool, usize) {
        let said = Arc::new(Mutex::new(0));
        let count = Arc::clone(&said);
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let mut setup = KeySetup::new(move |name| find(name).map(|(_, value)| (*value).to_owned()))
            .with_named(|| vec!["https://named".to_owned()])
            .with_warnings(move |_| *count.lock().expect("no panic") += 1);
        setup.trust = trust;
        let server = Server::parse(address).expect(address);
        let is_admitted = match admit(&setup, &server) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.cause, Cause::Untrusted);
                assert!(error.remedy.is_some_and(|remedy| remedy.contains(&server.name())), "{address}");
                false
            }
        };
        let said = *said.lock().expect("no panic");
        (is_admitted, said)
    }

    #[test]
    fn what_the_user_named_is_admitted_and_nothing_else() {
        let own = &[("VAULT_ADDR", "https://own:8200"), ("BAO_ADDR", "https://bao")];
        let listed = || Trust::Listed(vec!["https://listed".into()]);
        for address in ["https://own:8200", "https://bao", "https://named", "https://listed"] {
            assert_eq!(admitted(listed(), own, address), (true, 0), "{address}");
        }
        for address in ["https://own", "https://evil", "http://bao", "https://bao.evil"] {
            assert_eq!(admitted(listed(), own, address), (false, 0), "{address}");
        }
    }

    #[test]
    fn a_configuration_that_may_have_come_with_the_file_is_named() {
        let refused = |config: &'static str, variables: &'static [(&str, &str)], trust: Trust| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            let mut setup = KeySetup::new(move |name| find(name).map(|(_, value)| (*value).to_owned()))
                .with_doubted(move |address| {
                    Trust::Listed(vec!["https://evil".to_owned()]).admits(address).then(|| config.to_owned())
                });
            setup.trust = trust;
            let error = admit(&setup, &Server::parse("https://evil").expect("an address")).expect_err("no");
            (error.detail, error.remedy.expect("a remedy"))
        };
        let none = || Trust::Listed(Vec::new());
        for variables in [&[][..], &[(ALLOWLIST, "https://a")], &[("VAULT_ADDR", "https://own")]] {
            let (detail, remedy) = refused("x/.sops.yaml", variables, none());
            assert!(detail.contains("only x/.sops.yaml names it"), "{detail}");
            for way in ["VAULT_ADDR", ALLOWLIST, "`--config x/.sops.yaml`"] {
                assert!(remedy.contains(way), "{remedy}");
            }
        }
        assert!(refused("$(rm)/.sops.yaml", &[], none()).1.ends_with("`--config CONFIG`"));
        assert!(refused("x", &[(ALLOWLIST, "none")], none()).0.ends_with("admits nobody"));
        assert!(refused("x", &[(ALLOWLIST, "https://a")], Trust::All).0.contains("it is not in"));
    }

    #[test]
    fn the_allowlist_adds_addresses_or_takes_all_away() {
        let none = || Trust::Listed(Vec::new());
        let list = &[(ALLOWLIST, "https://a, https://b/x"), ("VAULT_ADDR", "https://own")];
        for (address, expected) in [
            ("https://a", true),
            ("https://b/x", true),
            ("https://b", false),
            ("https://own", true),
            ("https://named", true),
        ] {
            assert_eq!(admitted(none(), list, address).0, expected, "{address}");
        }
        assert_eq!(admitted(none(), &[(ALLOWLIST, "all")], "https://evil"), (true, 0));
        assert_eq!(
            admitted(none(), &[(ALLOWLIST, "none"), ("VAULT_ADDR", "https://own")], "https://own"),
            (false, 0)
        );
    }

    #[test]
    fn as_in_sops_all_are_admitted_with_a_warning_or_the_list_alone() {
        assert_eq!(admitted(Trust::All, &[], "https://evil"), (true, 1));
        assert_eq!(admitted(Trust::All, &[], "https://named"), (true, 0));
        assert_eq!(admitted(Trust::All, &[("VAULT_ADDR", "https://own")], "https://own"), (true, 0));
        assert_eq!(admitted(Trust::All, &[(ALLOWLIST, "all")], "https://evil"), (true, 0));
        assert_eq!(admitted(Trust::All, &[(ALLOWLIST, "https://a")], "https://a"), (true, 0));
        assert_eq!(admitted(Trust::All, &[(ALLOWLIST, "https://a")], "https://named"), (false, 0));
        assert_eq!(admitted(Trust::All, &[(ALLOWLIST, "none")], "https://named"), (false, 0));
    }

    #[test]
    fn a_token_in_clear_is_told() {
        assert_eq!(admitted(Trust::All, &[("VAULT_ADDR", "http://10.0.0.1")], "http://10.0.0.1"), (true, 1));
        assert_eq!(admitted(Trust::All, &[("VAULT_ADDR", "http://[::1]")], "http://[::1]"), (true, 0));
    }

    #[test]
    fn an_agent_is_asked_unless_nobody_is_to_be() {
        let admits = |trust: Trust, text: &'static str| {
            let mut setup = KeySetup::new(move |name| (name == ALLOWLIST).then(|| text.to_owned()));
            setup.trust = trust;
            admit_by_agent(&setup, &Server::parse("https://a").expect("an address")).is_ok()
        };
        let nobody = || Trust::Listed(Vec::new());
        assert!(admits(nobody(), "") && admits(nobody(), "https://b") && !admits(nobody(), "none"));
        assert!(admits(Trust::All, "") && admits(Trust::All, "https://a"));
        assert!(!admits(Trust::All, "https://b") && !admits(Trust::All, "none"));
    }

    #[test]
    fn an_allowlist_with_a_hole_stops_the_run() {
        let setup = KeySetup::new(|name| (name == ALLOWLIST).then(|| "https://a,,".to_owned()));
        let error = admit(&setup, &Server::parse("https://a").expect("an address")).expect_err("a hole");
        assert_eq!(error.detail, "entry 2 of SOPS_HC_VAULT_ALLOWLIST is empty");
    }

    #[test]
    fn openbao_is_known_by_its_address() {
        let setup = KeySetup::new(|name| match name {
            "BAO_ADDR" => Some("https://bao".to_owned()),
            "VAULT_ADDR" => Some("https://vault".to_owned()),
            _ => None,
        });
        assert!(is_of_bao(&setup, "https://bao/"));
        assert!(!is_of_bao(&setup, "https://vault/") && !is_of_bao(&setup, "https://other/"));
    }
}
