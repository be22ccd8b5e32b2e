//! Randomness.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::SecretBytes;
use crate::template::budget::Limit;
use crate::template::call::{Call, Failure};
use crate::template::rune;
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn alpha(call: &mut Call<'_, '_>) -> Result {
    characters(call, &[b'A'..=b'Z', b'a'..=b'z'])
}

pub fn alpha_num(call: &mut Call<'_, '_>) -> Result {
    characters(call, &[b'0'..=b'9', b'A'..=b'Z', b'a'..=b'z'])
}

pub fn ascii(call: &mut Call<'_, '_>) -> Result {
    characters(call, &[b' '..=b'~'])
}

pub fn numeric(call: &mut Call<'_, '_>) -> Result {
    characters(call, &[b'0'..=b'9'])
}

fn characters(call: &mut Call<'_, '_>, ranges: &[std::ops::RangeInclusive<u8>]) -> Result {
    // goutils refuses a negative number, and sprig drops the error.
    let count = usize::try_from(call.int(0)).unwrap_or(0);
    call.machine.budget.value(count)?;
    call.machine.budget.steps(count / 8)?;
    let characters: Vec<u8> = ranges.iter().cloned().flatten().collect();
    let mut out = SecretBytes::with_capacity(count);
    for _ in 0..count {
        let index = call.machine.random_below(characters.len() as u64);
        out.push(characters[index as usize]);
    }
    Ok(Value::text(out))
}

pub fn bytes(call: &mut Call<'_, '_>) -> Result {
    let Ok(count) = usize::try_from(call.int(0)) else {
        return Err("runtime error: makeslice: len out of range".into());
    };
    call.machine.budget.value(count.checked_mul(2).ok_or(Limit::ValueBytes)?)?;
    let mut bytes = zeroize::Zeroizing::new(vec![0; count]);
    call.machine.random_bytes(&mut bytes);
    call.give(STANDARD.encode(&*bytes))
}

pub fn int(call: &mut Call<'_, '_>) -> Result {
    let (low, high) = (call.int(0), call.int(1));
    match high.wrapping_sub(low) {
        size @ 1.. => {
            let number = call.machine.random_below(size as u64);
            Ok(Value::Int(low.wrapping_add(number as i64)))
        }
        _ => Err("invalid argument to Intn".into()),
    }
}

pub fn shuffle(call: &mut Call<'_, '_>) -> Result {
    let text = call.text(0);
    call.machine.budget.steps(text.len() / 4)?;
    let mut characters = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    characters.extend(rune::runes(text).map(|(_, character, _)| character));
    for last in (1..characters.len()).rev() {
        let index = call.machine.random_below(last as u64 + 1);
        characters.swap(last, index as usize);
    }
    let mut out = SecretBytes::with_capacity(characters.len());
    characters.iter().for_each(|&character| rune::push(&mut out, character));
    call.give(out)
}

pub fn uuid(call: &mut Call<'_, '_>) -> Result {
    let mut bytes = [0; 16];
    call.machine.random_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut out = SecretBytes::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    call.give(out)
}
