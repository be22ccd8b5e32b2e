//! Values that one side seals, and the other opens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use selkie::sealed::{
    ItemError, Key, KeyRegistry, KeySize, SealedSecret, SealingCert, SealingKey, SealingScope, Secret,
    SmallKeys,
};
use selkie::secret::SecretBytes;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::gotree::{Gotree, Refusal};
use super::properties::{number_of_documents, runner};
use crate::envelope::rng;
use crate::peer::{Peer, output, piped};

/// A private key and its certificate.
pub struct Pair {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The private key, in PEM.
    pub key: SecretBytes,
}

/// The command line of Sealed Secrets, where it finds no cluster.
pub struct Kubeseal {
    program: PathBuf,
    folder: TempDir,
}

/// The Python module `kubesealpy`, running.
pub struct Kubesealpy(Gotree);

/// To what values are bound.
#[derive(Clone, Debug)]
struct Place {
    scope: SealingScope,
    namespace: String,
    name: String,
}

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        Peer::Kubeseal.test("is_the_version_that_it_should_be", |program| {
            let version = output(Command::new(program).arg("--version"))?;
            let is_expected = version == b"kubeseal version: v0.40.0\n";
            is_expected.then_some(()).ok_or_else(|| String::from_utf8_lossy(&version).into_owned().into())
        }),
        Peer::Kubeseal.test("generated_values", |program| generated_values_of_kubeseal(&program)),
        Peer::Kubesealpy.test("generated_values", |site| generated_values_of_kubesealpy(&site)),
    ];
    for size in [KeySize::Rsa2048, KeySize::Rsa4096] {
        for scope in SealingScope::ALL {
            let name = format!("{}::{}", if size == KeySize::Rsa2048 { 2048 } else { 4096 }, scope.name());
            tests.push(Peer::Kubeseal.test(format!("we_open_theirs::{name}"), move |program| {
                we_open_what_kubeseal_sealed(&Kubeseal::new(program)?, size, scope)
            }));
            tests.push(Peer::Kubeseal.test(format!("they_open_ours::{name}"), move |program| {
                kubeseal_opens_what_we_sealed(&Kubeseal::new(program)?, size, scope)
            }));
            tests.push(Peer::Kubesealpy.test(format!("both_ways::{name}"), move |site| {
                both_ways_with_kubesealpy(&Kubesealpy::start(&site)?, size, scope)
            }));
        }
    }
    tests
}

fn we_open_what_kubeseal_sealed(
    kubeseal: &Kubeseal,
    size: KeySize,
    scope: SealingScope,
) -> Result<(), Failed> {
    let pair = Pair::of(size)?;
    let place = Place::usual(scope);
    let values = values();
    let sealed = kubeseal.seal(pair, &place.secret(&values))?;
    let sealed = SealedSecret::from_json(&sealed)?;
    if sealed.scope() != scope {
        return Err(format!("it is {}", sealed.scope()).into());
    }
    // The right key is not the first one.
    let keys = registry(&[Pair::another()?, pair])?;
    let mut opened = Vec::new();
    for (key, item) in sealed.open_items(&keys) {
        opened.push((key.to_owned(), item?.value.expose_secret().to_vec()));
    }
    same(&opened, &values)?;
    for (_, value) in values {
        let raw = kubeseal.seal_raw(pair, &place, &value)?;
        let item = keys.open(&raw, &place.label())?;
        same(&item.value.expose_secret(), &value.as_slice())?;
    }
    Ok(())
}

fn kubeseal_opens_what_we_sealed(
    kubeseal: &Kubeseal,
    size: KeySize,
    scope: SealingScope,
) -> Result<(), Failed> {
    let pair = Pair::of(size)?;
    let place = Place::usual(scope);
    let values = values();
    let secret = Secret::from_json(&place.secret(&values))?;
    let sealed = SealedSecret::seal(&secret, &SealingCert::parse(pair.certificate.as_bytes())?, &mut rng(1))?;
    let sealed = sealed.to_json();
    same(&data(&kubeseal.unseal(&[Pair::another()?, pair], &sealed)?)?, &values)?;
    let refused = kubeseal
        .unseal(&[Pair::another()?], &sealed)
        .err()
        .and_then(|failed| failed.message().map(str::to_owned));
    let is_for_want_of_a_key =
        refused.as_ref().is_some_and(|text| text.contains("no key could decrypt secret"));
    is_for_want_of_a_key.then_some(()).ok_or_else(|| format!("with another key: {refused:?}").into())
}

fn both_ways_with_kubesealpy(peer: &Kubesealpy, size: KeySize, scope: SealingScope) -> Result<(), Failed> {
    let pair = Pair::of(size)?;
    let keys = [Pair::another()?, pair];
    for (_, value) in values() {
        both_ways(peer, &keys, pair, &Place::usual(scope), &value)?;
    }
    Ok(())
}

/// Many values at a time, as starting the program takes longer than sealing.
fn generated_values_of_kubeseal(program: &Path) -> Result<(), Failed> {
    const AT_A_TIME: usize = 40;
    let kubeseal = Kubeseal::new(program.to_owned())?;
    let number = number_of_documents()?.div_ceil(AT_A_TIME as u32);
    run(number, &(vec(made_values(), 1..=AT_A_TIME), places(), any::<Index>()), |(values, place, index)| {
        let pair = Pair::any(index)?;
        let name = |(index, value): (usize, Vec<u8>)| (format!("{index:03}"), value);
        let values: Vec<_> = values.iter().cloned().enumerate().map(name).collect();
        let secret = place.secret(&values);
        let theirs = SealedSecret::from_json(&kubeseal.seal(pair, &secret)?)?;
        let keys = Pair::all()?;
        let registry = registry(&keys)?;
        let mut opened = Vec::new();
        for (key, item) in theirs.open_items(&registry) {
            opened.push((key.to_owned(), item?.value.expose_secret().to_vec()));
        }
        same(&opened, &values)?;
        let certificate = SealingCert::parse(pair.certificate.as_bytes())?;
        let ours = SealedSecret::seal(&Secret::from_json(&secret)?, &certificate, &mut rng(1))?;
        same(&data(&kubeseal.unseal(&keys, &ours.to_json())?)?, &values)
    })
}

fn generated_values_of_kubesealpy(site: &Path) -> Result<(), Failed> {
    let peer = Kubesealpy::start(site)?;
    run(number_of_documents()?, &(made_values(), places(), any::<Index>()), |(value, place, index)| {
        both_ways(&peer, &Pair::all()?, Pair::any(index)?, place, value)
    })
}

/// Demands that each side opens what the other sealed for a place, and nothing that was sealed for another.
fn both_ways(
    peer: &Kubesealpy,
    keys: &[&Pair],
    pair: &Pair,
    place: &Place,
    value: &[u8],
) -> Result<(), Failed> {
    let registry = registry(keys)?;
    let theirs = peer.seal(pair, place, value).map_err(refused)?;
    same(&registry.open(&theirs, &place.label())?.value.expose_secret(), &value)?;
    let certificate = SealingCert::parse(pair.certificate.as_bytes())?;
    let ours =
        certificate.seal_value(&value.into(), place.scope, &place.namespace, &place.name, &mut rng(7))?;
    same(&peer.unseal(keys, place, &ours).map_err(refused)?, &value.to_vec())?;
    let elsewhere = Place { namespace: format!("{}-", place.namespace), ..place.clone() };
    if elsewhere.label() == place.label() {
        return Ok(());
    }
    match (registry.open(&theirs, &elsewhere.label()), peer.unseal(keys, &elsewhere, &ours)) {
        (Err(ItemError::Locked(_)), Err(_)) => Ok(()),
        _ => Err("it opens elsewhere".into()),
    }
}

impl Pair {
    /// Returns a pair of this size, the same one whenever it is asked for.
    pub fn of(size: KeySize) -> Result<&'static Self, Failed> {
        static SMALL: OnceLock<Result<Pair, String>> = OnceLock::new();
        static USUAL: OnceLock<Result<Pair, String>> = OnceLock::new();
        let place = if size == KeySize::Rsa2048 { &SMALL } else { &USUAL };
        Self::once(place, size)
    }

    /// Returns a pair that no other one is.
    pub fn another() -> Result<&'static Self, Failed> {
        static ANOTHER: OnceLock<Result<Pair, String>> = OnceLock::new();
        Self::once(&ANOTHER, KeySize::Rsa2048)
    }

    /// Returns all that are cheap enough for many values.
    fn all() -> Result<[&'static Self; 3], Failed> {
        static THIRD: OnceLock<Result<Pair, String>> = OnceLock::new();
        Ok([Self::another()?, Self::of(KeySize::Rsa2048)?, Self::once(&THIRD, KeySize::Rsa3072)?])
    }

    fn any(index: &Index) -> Result<&'static Self, Failed> {
        Ok(*index.get(&Self::all()?))
    }

    fn once(place: &'static OnceLock<Result<Self, String>>, size: KeySize) -> Result<&'static Self, Failed> {
        place.get_or_init(|| Self::generate(size)).as_ref().map_err(|message| message.clone().into())
    }

    fn generate(size: KeySize) -> Result<Self, String> {
        let key = SealingKey::generate(size).map_err(|error| error.to_string())?;
        let now = OffsetDateTime::now_utc();
        let certificate = SealingCert::generate(&key, "", now, Duration::days(1), &mut rng(1));
        let certificate = certificate.map_err(|error| error.to_string())?.to_pem().to_owned();
        Ok(Self { certificate, key: key.to_pem() })
    }
}

impl Kubeseal {
    /// Returns the command line, with a folder of its own for files.
    pub fn new(program: PathBuf) -> Result<Self, Failed> {
        Ok(Self { program, folder: tempfile::tempdir()? })
    }

    /// Returns a SealedSecret of a Secret, whose annotations tell the scope.
    pub fn seal(&self, pair: &Pair, secret: &Json) -> Result<Json, Failed> {
        let sealed =
            piped(self.command().arg("--cert").arg(self.certificate(pair)?), secret.to_string().as_bytes())?;
        Ok(serde_json::from_slice(&sealed)?)
    }

    /// Returns the Secret of a SealedSecret.
    pub fn unseal(&self, keys: &[&Pair], sealed: &Json) -> Result<Json, Failed> {
        let mut command = self.command();
        command.arg("--recovery-unseal");
        for (index, pair) in keys.iter().enumerate() {
            let path = self.folder.path().join(format!("{index}.key"));
            fs::write(&path, pair.key.expose_secret())?;
            command.arg("--recovery-private-key").arg(path);
        }
        Ok(serde_json::from_slice(&piped(&mut command, sealed.to_string().as_bytes())?)?)
    }

    fn seal_raw(&self, pair: &Pair, place: &Place, value: &[u8]) -> Result<String, Failed> {
        let mut command = self.command();
        command.arg("--raw").arg("--cert").arg(self.certificate(pair)?);
        command.args(["--scope", place.scope.name(), "--namespace", &place.namespace, "--name", &place.name]);
        Ok(String::from_utf8(piped(&mut command, value)?)?)
    }

    fn certificate(&self, pair: &Pair) -> Result<PathBuf, Failed> {
        let path = self.folder.path().join("cert.pem");
        fs::write(&path, &pair.certificate)?;
        Ok(path)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", self.folder.path());
        command
    }
}

impl Kubesealpy {
    /// Starts the driver, with the folder that the modules are in.
    pub fn start(site: &Path) -> Result<Self, Failed> {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kubesealpy-driver.py");
        Gotree::run(Command::new("python3").env("PYTHONPATH", site).arg(driver)).map(Self)
    }

    fn seal(&self, pair: &Pair, place: &Place, value: &[u8]) -> Result<String, Refusal> {
        let request = json!({"do": "seal", "certificate": pair.certificate});
        self.ask(request, place, &STANDARD.encode(value))
    }

    fn unseal(&self, keys: &[&Pair], place: &Place, sealed: &str) -> Result<Vec<u8>, Refusal> {
        let keys = keys.iter().map(|pair| String::from_utf8_lossy(pair.key.expose_secret()));
        let request = json!({"do": "unseal", "keys": keys.collect::<Vec<_>>()});
        let value = self.ask(request, place, sealed)?;
        Ok(STANDARD.decode(value).expect("the driver answers in base64"))
    }

    fn ask(&self, mut request: Json, place: &Place, value: &str) -> Result<String, Refusal> {
        request["value"] = value.into();
        request["scope"] = place.scope.name().into();
        request["namespace"] = place.namespace.as_str().into();
        request["name"] = place.name.as_str().into();
        let answer = self.0.ask(&request)?;
        Ok(answer["value"].as_str().unwrap_or_default().to_owned())
    }
}

impl Place {
    fn usual(scope: SealingScope) -> Self {
        Self { scope, namespace: "shop".to_owned(), name: "db".to_owned() }
    }

    fn label(&self) -> String {
        self.scope.label(&self.namespace, &self.name)
    }

    fn secret(&self, values: &[(String, Vec<u8>)]) -> Json {
        let annotations: Map<_, _> =
            self.scope.annotation().map(|name| (name.to_owned(), "true".into())).into_iter().collect();
        let data: Map<_, _> =
            values.iter().map(|(key, value)| (key.clone(), STANDARD.encode(value).into())).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": self.namespace, "annotations": annotations},
            "data": data,
        })
    }
}

/// What values there can be, by the names of their keys.
fn values() -> Vec<(String, Vec<u8>)> {
    let large = (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    [
        ("binary", (0..=255).collect()),
        ("empty", Vec::new()),
        ("large", large),
        ("newline", b"\n".to_vec()),
        ("text", "of the sea \u{1f9ad}".into()),
    ]
    .map(|(name, value): (_, Vec<u8>)| (name.to_owned(), value))
    .to_vec()
}

fn made_values() -> impl Strategy<Value = Vec<u8>> {
    // Lengths around those of the blocks of the cipher, too.
    prop_oneof![4 => vec(any::<u8>(), 0..64), 1 => vec(any::<u8>(), 0..4096), 1 => Just(Vec::new())]
}

fn places() -> impl Strategy<Value = Place> {
    let names = || "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";
    let made = (select(&SealingScope::ALL[..]), names(), names());
    made.prop_map(|(scope, namespace, name)| Place { scope, namespace, name })
}

fn run<T: std::fmt::Debug>(
    number: u32,
    strategy: &impl Strategy<Value = T>,
    check: impl Fn(&T) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let check = |value: T| {
        check(&value).map_err(|failed| TestCaseError::fail(failed.message().unwrap_or_default().to_owned()))
    };
    Ok(runner(number).run(strategy, check)?)
}

/// Returns the private keys of pairs.
pub fn registry(pairs: &[&Pair]) -> Result<KeyRegistry, Failed> {
    let mut keys = KeyRegistry::new();
    for pair in pairs {
        keys.add(Key::new(SealingKey::parse(&pair.key, SmallKeys::Refuse)?, "made"));
    }
    Ok(keys)
}

/// Returns the values of a Secret. kubeseal writes an empty one as null.
fn data(secret: &Json) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let data = secret["data"].as_object().into_iter().flatten();
    let value = |(key, value): (&String, &Json)| {
        Ok((key.clone(), STANDARD.decode(value.as_str().unwrap_or_default())?))
    };
    let mut values: Vec<_> = data.map(value).collect::<Result<_, Failed>>()?;
    values.sort();
    Ok(values)
}

fn refused(refusal: Refusal) -> Failed {
    refusal.error.into()
}

fn same<T: PartialEq>(actual: &T, expected: &T) -> Result<(), Failed> {
    if actual == expected { Ok(()) } else { Err("the values are not those that were sealed".into()) }
}
