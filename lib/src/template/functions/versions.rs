//! Versions and constraints on them.

use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::semver::{ConstraintFault, Constraints, Version};
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn semver(call: &mut Call<'_, '_>) -> Result {
    let version = parse(call, 0)?;
    Ok(Value::Version(std::rc::Rc::new(version)))
}

pub fn semver_compare(call: &mut Call<'_, '_>) -> Result {
    call.machine.budget.steps(call.text(0).len())?;
    let constraints = std::str::from_utf8(call.text(0)).map_err(|_| ConstraintFault::Improper(String::new()));
    let constraints = constraints.and_then(Constraints::parse).map_err(|fault| match fault {
        ConstraintFault::Improper(part) => {
            format!("improper constraint: {}", if call.is_public(0) { &part } else { HIDDEN })
        }
        ConstraintFault::Version => "constraint parser error".to_owned(),
    })?;
    Ok(constraints.allow(&parse(call, 1)?).into())
}

fn parse(call: &Call<'_, '_>, index: usize) -> std::result::Result<Version, Failure> {
    let text = std::str::from_utf8(call.text(index)).map_err(|_| "invalid semantic version")?;
    Version::parse(text).map_err(|fault| fault.message(call.is_public(index)).into())
}
