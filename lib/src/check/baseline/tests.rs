use proptest::prelude::{any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::check::{Content, File, Mode, rule};

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn finding(id: &str, path: &str, place: (&str, &str), value: Option<&[u8]>) -> Finding {
    let content = Content::Text("a\n".into());
    let file = File::new(path, b"a\n", &content, Mode::File);
    let finding = Finding::new(rule(id).expect("a rule"), &file, 0..1, "here").at(place.0, place.1);
    match value {
        None => finding,
        Some(value) => finding.value(value),
    }
}

fn secret(value: &[u8]) -> Finding {
    finding("K8S001", "apps/a b.yaml", ("Secret/x/y", "/data/p w"), Some(value))
}

fn is_known(baseline: &Baseline, finding: Finding) -> bool {
    let mut found = [finding];
    baseline.mark(&mut found);
    found[0].standing == Standing::Baseline
}

#[test]
fn the_same_value_at_the_same_place_is_known() {
    let baseline = Baseline::default().renew(&[secret(b"made up")], &mut rng());
    let line = baseline.to_string();
    assert!(line.starts_with("K8S001 apps/a%20b.yaml Secret/x/y#/data/p%20w "), "{line}");
    assert_eq!(line.rsplit(' ').next().map(str::len), Some(32 + 1 + 32 + 1));
    assert!(is_known(&baseline, secret(b"made up")));
    assert!(!is_known(&baseline, secret(b"made up ")));
    for other in [
        finding("K8S002", "apps/a b.yaml", ("Secret/x/y", "/data/p w"), Some(b"made up")),
        finding("K8S001", "apps/a.yaml", ("Secret/x/y", "/data/p w"), Some(b"made up")),
        finding("K8S001", "apps/a b.yaml", ("Secret/x", "/data/p w"), Some(b"made up")),
        finding("K8S001", "apps/a b.yaml", ("Secret/x/y", "/data"), Some(b"made up")),
        finding("K8S001", "apps/a b.yaml", ("Secret/x/y", "/data/p w"), None),
    ] {
        assert!(!is_known(&baseline, other));
    }
}

#[test]
fn private_keys_are_in_no_baseline() {
    let key = || finding("KEY001", "a", ("", ""), Some(b"made up"));
    let baseline = Baseline::default().renew(&[key(), secret(b"made up")], &mut rng());
    assert_eq!(baseline.len(), 1);
    // A line that somebody wrote lets nothing in, either.
    let other = finding("K8S002", "a", ("", ""), Some(b"made up"));
    let text = Baseline::default().renew(&[other], &mut rng()).to_string().replace("K8S002", "KEY001");
    let forged = Baseline::parse(text.as_bytes()).expect("a baseline");
    assert_eq!(forged.len(), 1);
    assert!(!is_known(&forged, key()));
}

#[test]
fn renewing_keeps_what_holds_adds_what_is_new_and_drops_what_is_gone() {
    let place = |pointer| ("Secret/x", pointer);
    let a = || finding("K8S001", "a", place("/data/a"), Some(b"one"));
    let b = || finding("K8S001", "a", place("/data/b"), Some(b"two"));
    let c = || finding("K8S001", "a", place("/data/c"), Some(b"one"));
    let first = Baseline::default().renew(&[a(), b()], &mut rng());
    assert_eq!(first.renew(&[b(), a()], &mut rng()), first);
    let second = first.renew(&[c(), b()], &mut ChaCha8Rng::seed_from_u64(8));
    let (old, new) = (first.to_string(), second.to_string());
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    assert_eq!((new.len(), new[0]), (2, old[1]));
    // The same value has another commitment at another place.
    assert_ne!(new[1].rsplit('$').next(), old[0].rsplit('$').next());
    assert_eq!(first.prune(&[b(), c()]).to_string().lines().collect::<Vec<_>>(), [old[1]]);
}

#[test]
fn several_values_of_one_place_share_a_salt() {
    let values: Vec<Vec<u8>> = (0_u8..200).map(|value| vec![value; 9]).collect();
    let found: Vec<_> = values.iter().map(|value| secret(value)).collect();
    let baseline = Baseline::default().renew(&found, &mut rng());
    assert_eq!(baseline.len(), 200);
    let again = Baseline::parse(baseline.to_string().as_bytes()).expect("a baseline");
    assert!(values.iter().all(|value| is_known(&again, secret(value))));
    assert!(!is_known(&again, secret(b"another")));
    assert_eq!(again.work.lock().misses, 1);
}

#[test]
fn both_sides_of_a_merge_are_read() {
    let one = Baseline::default().renew(&[secret(b"one")], &mut rng());
    let two = Baseline::default().renew(&[secret(b"two")], &mut ChaCha8Rng::seed_from_u64(9));
    let merged = Baseline::parse(format!("# both\n\n{two}{one}{two}").as_bytes()).expect("a baseline");
    assert_eq!((merged.len(), &merged), (2, &one.union(&two)));
    assert!(is_known(&merged, secret(b"one")) && is_known(&merged, secret(b"two")));
}

#[test]
fn only_what_has_a_value_or_is_told_by_its_place_is_taken() {
    let place = ("", "");
    let found = [
        finding("SOPS011", "a", place, None),
        finding("SOPS001", "a", place, None),
        finding("KEY001", "a", place, None),
        finding("META001", "a", place, Some(b"x")),
    ];
    let baseline = Baseline::default().renew(&found, &mut rng());
    assert_eq!(baseline.to_string(), "SOPS011 a # -\n");
    assert!(is_known(&baseline, finding("SOPS011", "a", place, None)));
    let mut allowed = secret(b"x");
    allowed.standing = Standing::Allowed("y".to_owned());
    assert!(Baseline::default().renew(&[allowed], &mut rng()).is_empty());
}

#[test]
fn what_is_no_entry_is_an_error_at_its_line() {
    let hex = "00112233445566778899aabbccddeeff";
    for line in [
        "K8S001".to_owned(),
        format!("K8S001 a # {hex}"),
        format!("K8S001 a b {hex}${hex}"),
        format!("K8S001 a # {hex}${hex} x"),
        format!("K8S001 a # {hex}${}", &hex[1..]),
        format!("K8S001 a%2 # {hex}${hex}"),
        format!("K8S001 a%ff # {hex}${hex}"),
        format!("K8S001 a%+1 # {hex}${hex}"),
        format!("k8s001 a # {hex}${hex}"),
        "K8S001 a # -".to_owned(),
    ] {
        let error = Baseline::parse(format!("K8S001 a # {hex}${hex}\n{line}\n").as_bytes()).expect_err(&line);
        assert_eq!(error.line, 2, "{line}");
    }
    let conflict = format!("<<<<<<< HEAD\nK8S001 a # {hex}${hex}\n=======\n>>>>>>> x\n");
    let error = Baseline::parse(conflict.as_bytes()).expect_err("a conflict");
    assert!(
        error
            .to_string()
            .starts_with("line 1: this is the conflict of a merge: keep the lines of both sides")
    );
    assert!(Baseline::parse(&[0xff]).is_err());
}

#[test]
fn a_hostile_baseline_costs_little() {
    let line =
        |salt: usize| format!("K8S001 apps/a%20b.yaml Secret/x/y#/data/p%20w {salt:032x}${:032x}\n", 1);
    let text: String = (0..1_000).map(line).collect();
    let baseline = Baseline::parse(text.as_bytes()).expect("a baseline");
    for value in 0..50_u8 {
        assert!(!is_known(&baseline, secret(&[value; 9])));
    }
    assert!(baseline.work.lock().known.len() <= MAX_MISSES);
    // Those of one run share it; what is known once is known for all.
    let own = Baseline::default().renew(&[secret(b"own")], &mut rng());
    let (other, fresh) = (own.clone().with_work(&baseline.work), own.clone().with_work(&Work::default()));
    assert_eq!(baseline.work.lock().misses, MAX_MISSES);
    assert!(!is_known(&other, secret(b"own")));
    assert!(is_known(&fresh, secret(b"own")) && fresh.work.lock().misses == 0);
    fresh.work.lock().misses = MAX_MISSES;
    assert!(is_known(&fresh, secret(b"own")));
    // Nor is anything looked up once the time is over.
    let over = own.with_work(&Work::until(|| true));
    assert!(!is_known(&over, secret(b"own")) && over.work.lock().known.is_empty());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        places in prop::collection::vec((".{1,12}", ".{0,12}", ".{0,12}", any::<[u8; 12]>()), 0..6),
    ) {
        let found: Vec<_> = places
            .iter()
            .map(|(path, object, pointer, value)| finding("K8S001", path, (object, pointer), Some(value)))
            .collect();
        let baseline = Baseline::default().renew(&found, &mut rng());
        let text = baseline.to_string();
        prop_assert_eq!(Baseline::parse(text.as_bytes()), Ok(baseline));
        prop_assert!(text.lines().is_sorted());
    }

    #[test]
    fn nothing_tells_the_value(value in "[a-zA-Z0-9]{12,40}") {
        use base64::Engine;
        let baseline = Baseline::default().renew(&[secret(value.as_bytes())], &mut rng());
        prop_assert!(is_known(&baseline, secret(value.as_bytes())));
        let shown = format!("{baseline}{baseline:?}");
        prop_assert!(!shown.contains(&value));
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&value);
        prop_assert!(!shown.contains(&encoded));
    }

    #[test]
    fn no_text_makes_it_panic(text in "([A-Z0-9]{1,8}|[ #$%/\n-]|[0-9a-f]{32}|.){0,20}") {
        if let Ok(baseline) = Baseline::parse(text.as_bytes()) {
            prop_assert_eq!(Baseline::parse(baseline.to_string().as_bytes()), Ok(baseline));
        }
    }
}
