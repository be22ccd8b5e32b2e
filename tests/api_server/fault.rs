//! What comes between a request and its answer.

use std::io;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::refusal::Refusal;
use super::verbs::Ask;

/// Something that goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused as if somebody else had been quicker; reads are not.
    Conflict,
    /// It is refused, as if the database did not answer.
    Internal,
    /// It is done, and the answer is lost.
    LostReply,
    /// It does not arrive.
    NoConnection,
    /// It is done late.
    Slow(Duration),
    /// It is refused because there are too many.
    TooMany,
    /// It is refused, as if the server were about to end.
    Unavailable,
}

/// How a watch ends that should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As if it had taken long enough.
    Close,
    /// By an error of the connection.
    Error,
    /// By an event that says that the version is too old.
    Expire,
}

/// Decides what goes wrong.
pub struct Faults {
    /// The part of the requests with which something goes wrong.
    pub rate: f64,
    /// How long a request takes to arrive at most, and its answer.
    pub latency: Duration,
    /// How late events of watches are at most.
    pub lag: Duration,
    /// How long watches live at most.
    pub watch_life: Option<Duration>,
    /// Whether there is no server.
    pub is_down: bool,
    planned: Vec<Planned>,
    rng: ChaCha8Rng,
}

/// A fault for the next requests of a kind.
struct Planned {
    is_meant: Box<dyn Fn(&Ask) -> bool + Send>,
    fault: Fault,
    times: u32,
}

impl Fault {
    /// Returns the answer in place of the true one, if there is one.
    pub fn refusal(self, ask: &Ask) -> Option<Refusal> {
        match self {
            Self::Conflict => {
                Some(Refusal::outdated(ask.target.resource, ask.target.name.as_deref().unwrap_or_default()))
            }
            Self::Internal => Some(Refusal::internal()),
            Self::TooMany => Some(Refusal::too_many_requests()),
            Self::Unavailable => Some(Refusal::unavailable()),
            Self::LostReply | Self::NoConnection | Self::Slow(_) => None,
        }
    }
}

impl Faults {
    /// Returns no faults; those to come are drawn with a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rate: 0.0,
            latency: Duration::ZERO,
            lag: Duration::ZERO,
            watch_life: None,
            is_down: false,
            planned: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Ends all faults.
    pub fn end(&mut self) {
        *self = Self { rng: self.rng.clone(), ..Self::new(0) };
    }

    /// Plans a fault for the next requests that are meant.
    pub fn plan(&mut self, fault: Fault, times: u32, is_meant: impl Fn(&Ask) -> bool + Send + 'static) {
        self.planned.push(Planned { is_meant: Box::new(is_meant), fault, times });
    }

    /// Draws what goes wrong with a request.
    pub fn draw(&mut self, ask: &Ask) -> Option<Fault> {
        if let Some(planned) =
            self.planned.iter_mut().find(|planned| planned.times > 0 && (planned.is_meant)(ask))
        {
            planned.times -= 1;
            return Some(planned.fault);
        }
        if self.rate == 0.0 || !self.rng.gen_bool(self.rate) {
            return None;
        }
        let fault = match self.rng.gen_range(0..7) {
            0 => Fault::Conflict,
            1 => Fault::Internal,
            2 => Fault::LostReply,
            3 => Fault::NoConnection,
            4 => Fault::Slow(Duration::from_millis(self.rng.gen_range(100..20_000))),
            5 => Fault::TooMany,
            _ => Fault::Unavailable,
        };
        let is_read = ask.method == "GET" || ask.method == "POST";
        Some(fault).filter(|fault| *fault != Fault::Conflict || !is_read)
    }

    /// Draws how long something takes that takes no longer than `longest`.
    pub fn time(&mut self, longest: Duration) -> Duration {
        if longest.is_zero() { longest } else { longest.mul_f64(self.rng.r#gen::<f64>()) }
    }
}

/// The error of a connection that ends before there is an answer.
pub fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

/// The error if nobody listens.
pub fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")
}
