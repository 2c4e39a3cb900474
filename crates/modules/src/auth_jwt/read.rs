//! What the directives say.

use foregate_conf::{Error, Node, Word};
use foregate_core::{Compile, Scope, duplicate};

use super::{Options, Requirement};

const STATUS: u16 = 401;

/// `auth_jwt_require` as written.
#[derive(Clone)]
pub(super) struct Require {
    values: Vec<Word>,
    status: u16,
}

impl Require {
    pub(super) fn compile(self, cx: &mut Compile<'_>) -> Result<Requirement, Error> {
        let values = self.values.iter().map(|it| cx.template(it)).collect::<Result<_, _>>()?;
        Ok(Requirement { values, status: self.status })
    }
}

/// A variable's name behind its `$`.
pub(super) fn bare(name: &Word) -> Result<&str, Error> {
    name.strip_prefix('$').filter(|it| !it.is_empty()).ok_or_else(|| {
        Error::at(name.span, format!("invalid variable name \"{name}\""))
            .advise("a variable begins with a dollar sign")
    })
}

pub(super) fn jwt(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.jwt.is_some() {
        return Err(duplicate(node));
    }
    let token = match node.args.get(1) {
        None => None,
        Some(word) => match word.strip_prefix("token=").filter(|it| it.starts_with('$')) {
            Some(value) => Some(Word::new(value.as_bytes().to_vec(), word.span, false)),
            None => {
                return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))
                    .advise("where the token is: token=$cookie_name, token=$arg_name or token=$http_name"));
            }
        },
    };
    o.jwt = Some((node.args[0].clone(), token));
    Ok(())
}

pub(super) fn key_file(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.key_files.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

pub(super) fn key_request(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = &node.args[0];
    let is_web = word.starts_with("http://") || word.starts_with("https://");
    if !is_web && !word.starts_with(['/', '$']) {
        return Err(Error::at(word.span, format!("invalid uri \"{word}\"")).advise(
            "the issuer's address, https://issuer/jwks.json, or a location that gets the keys",
        ));
    }
    o.key_requests.get_or_insert_default().push(word.clone());
    Ok(())
}

pub(super) fn kind(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.kind.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    match word.text.as_str() {
        "signed" => o.kind = Some(word.clone()),
        "encrypted" | "nested" => {
            return Err(Error::at(word.span, format!("\"auth_jwt_type {word}\" is not available in this version"))
                .advise("only signed tokens (JWS) are understood"));
        }
        _ => return Err(Error::at(word.span, format!("invalid value \"{word}\"")).advise("one of: signed")),
    }
    Ok(())
}

pub(super) fn require(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let mut require = Require { values: Vec::new(), status: STATUS };
    for word in &node.args {
        match word.strip_prefix("error=") {
            Some("401") => require.status = 401,
            Some("403") => require.status = 403,
            Some(_) => return Err(Error::at(word.span, format!("invalid error \"{word}\"")).advise("error=401 or error=403")),
            None if word.starts_with('$') => require.values.push(word.clone()),
            None => {
                return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))
                    .advise("a variable, such as one that a map makes of $jwt_claim_iss"));
            }
        }
    }
    if require.values.is_empty() {
        return Err(Error::directive(node, "invalid number of arguments"));
    }
    o.require.get_or_insert_default().push(require);
    Ok(())
}

pub(super) fn claim_set(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    bare(&node.args[0])?;
    o.claim_sets.push(node.clone());
    Ok(())
}

pub(super) fn header_set(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    bare(&node.args[0])?;
    o.header_sets.push(node.clone());
    Ok(())
}
