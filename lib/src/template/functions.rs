//! The functions of templates: those of Go, and those of sprig v3.3.0 without `env`, `expandenv` and
//! `getHostByName`.
//!
//! Adding one is a line in the table, which is sorted by name.

mod builtin;
mod certificate;
mod crypto;
mod date;
mod default;
mod dict;
mod json;
mod list;
pub mod methods;
mod number;
mod path;
mod random;
mod regex;
mod strings;
mod url;
mod versions;
mod words;

use crate::template::call::{Body, Function, Signature, Type};

/// Returns the function of a name.
pub fn find(name: &str) -> Option<&'static Function> {
    let index = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
    FUNCTIONS.get(index)
}

/// A function whose result depends on its arguments alone.
const fn pure(name: &'static str, fixed: &'static [Type], rest: Option<Type>, body: Body) -> Function {
    Function { name, signature: Signature { fixed, rest }, body, is_pure: true }
}

/// A function that depends on more, or makes secrets.
const fn impure(name: &'static str, fixed: &'static [Type], rest: Option<Type>, body: Body) -> Function {
    Function { name, signature: Signature { fixed, rest }, body, is_pure: false }
}

const A: Type = Type::Any;
const B: Type = Type::Bool;
const C: Type = Type::Certificate;
const D: Type = Type::Dict;
const F: Type = Type::Float;
const I: Type = Type::Int;
const L: Type = Type::List;
const R: Type = Type::Raw;
const S: Type = Type::Text;
const T: Type = Type::Time;
const U: Type = Type::Unsigned32;

static FUNCTIONS: &[Function] = &[
    pure("abbrev", &[I, S], None, strings::abbrev),
    pure("abbrevboth", &[I, I, S], None, strings::abbrevboth),
    pure("add", &[], Some(A), number::add),
    pure("add1", &[A], None, number::add1),
    pure("add1f", &[A], None, number::add1f),
    pure("addf", &[], Some(A), number::addf),
    pure("adler32sum", &[S], None, crypto::adler32sum),
    impure("ago", &[A], None, date::ago),
    pure("all", &[], Some(A), default::all),
    pure("and", &[R], Some(R), builtin::never),
    pure("any", &[], Some(A), default::any),
    pure("append", &[A, A], None, list::append),
    pure("atoi", &[S], None, number::atoi),
    pure("b32dec", &[S], None, strings::b32dec),
    pure("b32enc", &[S], None, strings::b32enc),
    pure("b64dec", &[S], None, strings::b64dec),
    pure("b64enc", &[S], None, strings::b64enc),
    pure("base", &[S], None, path::base),
    impure("bcrypt", &[S], None, crypto::bcrypt),
    pure("biggest", &[A], Some(A), number::max),
    pure("buildCustomCert", &[S, S], None, certificate::build_custom),
    pure("call", &[R], Some(R), builtin::never),
    pure("camelcase", &[S], None, words::camelcase),
    pure("cat", &[], Some(A), strings::cat),
    pure("ceil", &[A], None, number::ceil),
    pure("chunk", &[I, A], None, list::chunk),
    pure("clean", &[S], None, path::clean),
    pure("coalesce", &[], Some(A), default::coalesce),
    pure("compact", &[A], None, list::compact),
    pure("concat", &[], Some(A), list::concat),
    pure("contains", &[S, S], None, strings::contains),
    impure("date", &[S, A], None, date::date),
    impure("dateInZone", &[S, A, S], None, date::date_in_zone),
    pure("dateModify", &[S, T], None, date::date_modify),
    impure("date_in_zone", &[S, A, S], None, date::date_in_zone),
    pure("date_modify", &[S, T], None, date::date_modify),
    impure("decryptAES", &[S, S], None, crypto::decrypt_aes),
    pure("deepCopy", &[A], None, dict::deep_copy),
    pure("deepEqual", &[A, A], None, default::deep_equal),
    pure("default", &[A], Some(A), default::default),
    impure("derivePassword", &[U, S, S, S, S], None, crypto::derive_password),
    pure("dict", &[], Some(A), dict::dict),
    pure("dig", &[], Some(A), dict::dig),
    pure("dir", &[S], None, path::dir),
    pure("div", &[A, A], None, number::div),
    pure("divf", &[A], Some(A), number::divf),
    pure("duration", &[A], None, date::duration),
    impure("durationRound", &[A], None, date::duration_round),
    pure("empty", &[A], None, default::empty),
    impure("encryptAES", &[S, S], None, crypto::encrypt_aes),
    pure("eq", &[R], Some(R), builtin::eq),
    pure("ext", &[S], None, path::ext),
    pure("fail", &[S], None, default::fail),
    pure("first", &[A], None, list::first),
    pure("float64", &[A], None, number::float64),
    pure("floor", &[A], None, number::floor),
    pure("fromJson", &[S], None, json::from_json),
    pure("ge", &[R, R], None, builtin::ge),
    impure("genCA", &[S, I], None, certificate::gen_ca),
    impure("genCAWithKey", &[S, I, S], None, certificate::gen_ca_with_key),
    impure("genPrivateKey", &[S], None, certificate::gen_private_key),
    impure("genSelfSignedCert", &[S, L, L, I], None, certificate::gen_self_signed),
    impure("genSelfSignedCertWithKey", &[S, L, L, I, S], None, certificate::gen_self_signed_with_key),
    impure("genSignedCert", &[S, L, L, I, C], None, certificate::gen_signed),
    impure("genSignedCertWithKey", &[S, L, L, I, C, S], None, certificate::gen_signed_with_key),
    pure("get", &[D, S], None, dict::get),
    pure("gt", &[R, R], None, builtin::gt),
    pure("has", &[A, A], None, list::has),
    pure("hasKey", &[D, S], None, dict::has_key),
    pure("hasPrefix", &[S, S], None, strings::has_prefix),
    pure("hasSuffix", &[S, S], None, strings::has_suffix),
    pure("hello", &[], None, default::hello),
    pure("html", &[], Some(A), builtin::html),
    impure("htmlDate", &[A], None, date::html_date),
    impure("htmlDateInZone", &[A, S], None, date::html_date_in_zone),
    impure("htpasswd", &[S, S], None, crypto::htpasswd),
    pure("indent", &[I, S], None, strings::indent),
    pure("index", &[R], Some(R), builtin::index),
    pure("initial", &[A], None, list::initial),
    pure("initials", &[S], None, strings::initials),
    pure("int", &[A], None, number::int),
    pure("int64", &[A], None, number::int64),
    pure("isAbs", &[S], None, path::is_abs),
    pure("join", &[S, A], None, strings::join),
    pure("js", &[], Some(A), builtin::js),
    pure("kebabcase", &[S], None, words::kebabcase),
    pure("keys", &[], Some(D), dict::keys),
    pure("kindIs", &[S, A], None, default::kind_is),
    pure("kindOf", &[A], None, default::kind_of),
    pure("last", &[A], None, list::last),
    pure("le", &[R, R], None, builtin::le),
    pure("len", &[R], None, builtin::len),
    pure("list", &[], Some(A), list::list),
    pure("lower", &[S], None, strings::lower),
    pure("lt", &[R, R], None, builtin::lt),
    pure("max", &[A], Some(A), number::max),
    pure("maxf", &[A], Some(A), number::maxf),
    pure("merge", &[D], Some(D), dict::merge),
    pure("mergeOverwrite", &[D], Some(D), dict::merge_overwrite),
    pure("min", &[A], Some(A), number::min),
    pure("minf", &[A], Some(A), number::minf),
    pure("mod", &[A, A], None, number::modulo),
    pure("mul", &[A], Some(A), number::mul),
    pure("mulf", &[A], Some(A), number::mulf),
    pure("mustAppend", &[A, A], None, list::append),
    pure("mustChunk", &[I, A], None, list::chunk),
    pure("mustCompact", &[A], None, list::compact),
    pure("mustDateModify", &[S, T], None, date::must_date_modify),
    pure("mustDeepCopy", &[A], None, dict::deep_copy),
    pure("mustFirst", &[A], None, list::first),
    pure("mustFromJson", &[S], None, json::must_from_json),
    pure("mustHas", &[A, A], None, list::has),
    pure("mustInitial", &[A], None, list::initial),
    pure("mustLast", &[A], None, list::last),
    pure("mustMerge", &[D], Some(D), dict::merge),
    pure("mustMergeOverwrite", &[D], Some(D), dict::merge_overwrite),
    pure("mustPrepend", &[A, A], None, list::prepend),
    pure("mustPush", &[A, A], None, list::append),
    pure("mustRegexFind", &[S, S], None, regex::find),
    pure("mustRegexFindAll", &[S, S, I], None, regex::find_all),
    pure("mustRegexMatch", &[S, S], None, regex::must_match),
    pure("mustRegexReplaceAll", &[S, S, S], None, regex::replace_all),
    pure("mustRegexReplaceAllLiteral", &[S, S, S], None, regex::replace_all_literal),
    pure("mustRegexSplit", &[S, S, I], None, regex::split),
    pure("mustRest", &[A], None, list::rest),
    pure("mustReverse", &[A], None, list::reverse),
    pure("mustSlice", &[A], Some(A), list::slice),
    pure("mustToDate", &[S, S], None, date::must_to_date),
    pure("mustToJson", &[A], None, json::must_to_json),
    pure("mustToPrettyJson", &[A], None, json::must_to_pretty_json),
    pure("mustToRawJson", &[A], None, json::to_raw_json),
    pure("mustUniq", &[A], None, list::uniq),
    pure("mustWithout", &[A], Some(A), list::without),
    pure("must_date_modify", &[S, T], None, date::must_date_modify),
    pure("ne", &[R, R], None, builtin::ne),
    pure("nindent", &[I, S], None, strings::nindent),
    pure("nospace", &[S], None, strings::nospace),
    pure("not", &[R], None, builtin::not),
    impure("now", &[], None, date::now),
    pure("omit", &[D], Some(S), dict::omit),
    pure("or", &[R], Some(R), builtin::never),
    pure("osBase", &[S], None, path::base),
    pure("osClean", &[S], None, path::clean),
    pure("osDir", &[S], None, path::dir),
    pure("osExt", &[S], None, path::ext),
    pure("osIsAbs", &[S], None, path::is_abs),
    pure("pick", &[D], Some(S), dict::pick),
    pure("pluck", &[S], Some(D), dict::pluck),
    pure("plural", &[S, S, I], None, strings::plural),
    pure("prepend", &[A, A], None, list::prepend),
    pure("print", &[], Some(A), builtin::print),
    pure("printf", &[S], Some(A), builtin::printf),
    pure("println", &[], Some(A), builtin::println),
    pure("push", &[A, A], None, list::append),
    pure("quote", &[], Some(A), strings::quote),
    impure("randAlpha", &[I], None, random::alpha),
    impure("randAlphaNum", &[I], None, random::alpha_num),
    impure("randAscii", &[I], None, random::ascii),
    impure("randBytes", &[I], None, random::bytes),
    impure("randInt", &[I, I], None, random::int),
    impure("randNumeric", &[I], None, random::numeric),
    pure("regexFind", &[S, S], None, regex::find),
    pure("regexFindAll", &[S, S, I], None, regex::find_all),
    pure("regexMatch", &[S, S], None, regex::matches),
    pure("regexQuoteMeta", &[S], None, regex::quote_meta),
    pure("regexReplaceAll", &[S, S, S], None, regex::replace_all),
    pure("regexReplaceAllLiteral", &[S, S, S], None, regex::replace_all_literal),
    pure("regexSplit", &[S, S, I], None, regex::split),
    pure("repeat", &[I, S], None, strings::repeat),
    pure("replace", &[S, S, S], None, strings::replace),
    pure("rest", &[A], None, list::rest),
    pure("reverse", &[A], None, list::reverse),
    pure("round", &[A, I], Some(F), number::round),
    pure("semver", &[S], None, versions::semver),
    pure("semverCompare", &[S, S], None, versions::semver_compare),
    pure("seq", &[], Some(I), number::seq),
    pure("set", &[D, S, A], None, dict::set),
    pure("sha1sum", &[S], None, crypto::sha1sum),
    pure("sha256sum", &[S], None, crypto::sha256sum),
    pure("sha512sum", &[S], None, crypto::sha512sum),
    impure("shuffle", &[S], None, random::shuffle),
    pure("slice", &[A], Some(A), list::slice),
    pure("snakecase", &[S], None, words::snakecase),
    pure("sortAlpha", &[A], None, list::sort_alpha),
    pure("split", &[S, S], None, strings::split),
    pure("splitList", &[S, S], None, strings::split_list),
    pure("splitn", &[S, I, S], None, strings::splitn),
    pure("squote", &[], Some(A), strings::squote),
    pure("sub", &[A, A], None, number::sub),
    pure("subf", &[A], Some(A), number::subf),
    pure("substr", &[I, I, S], None, strings::substr),
    pure("swapcase", &[S], None, strings::swapcase),
    pure("ternary", &[A, A, B], None, default::ternary),
    pure("title", &[S], None, strings::title),
    pure("toDate", &[S, S], None, date::to_date),
    pure("toDecimal", &[A], None, number::to_decimal),
    pure("toJson", &[A], None, json::to_json),
    pure("toPrettyJson", &[A], None, json::to_pretty_json),
    pure("toRawJson", &[A], None, json::to_raw_json),
    pure("toString", &[A], None, strings::to_string),
    pure("toStrings", &[A], None, strings::to_strings),
    pure("trim", &[S], None, strings::trim),
    pure("trimAll", &[S, S], None, strings::trim_all),
    pure("trimPrefix", &[S, S], None, strings::trim_prefix),
    pure("trimSuffix", &[S, S], None, strings::trim_suffix),
    pure("trimall", &[S, S], None, strings::trim_all),
    pure("trunc", &[I, S], None, strings::trunc),
    pure("tuple", &[], Some(A), list::list),
    pure("typeIs", &[S, A], None, default::type_is),
    pure("typeIsLike", &[S, A], None, default::type_is_like),
    pure("typeOf", &[A], None, default::type_of),
    pure("uniq", &[A], None, list::uniq),
    pure("unixEpoch", &[T], None, date::unix_epoch),
    pure("unset", &[D, S], None, dict::unset),
    pure("until", &[I], None, number::until),
    pure("untilStep", &[I, I, I], None, number::until_step),
    pure("untitle", &[S], None, strings::untitle),
    pure("upper", &[S], None, strings::upper),
    pure("urlJoin", &[D], None, url::join),
    pure("urlParse", &[S], None, url::parse),
    pure("urlquery", &[], Some(A), builtin::urlquery),
    impure("uuidv4", &[], None, random::uuid),
    pure("values", &[D], None, dict::values),
    pure("without", &[A], Some(A), list::without),
    pure("wrap", &[I, S], None, strings::wrap),
    pure("wrapWith", &[I, S, S], None, strings::wrap_with),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(FUNCTIONS.is_sorted_by(|one, other| one.name < other.name));
    }

    #[test]
    fn what_reads_its_surroundings_is_not_there() {
        for name in ["env", "expandenv", "getHostByName"] {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
