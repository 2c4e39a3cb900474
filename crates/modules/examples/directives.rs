//! Prints the reference of all directives as Markdown: what `cargo xtask docs` writes to docs/directives.md.

use std::collections::BTreeMap;

use foregate_core::Scope;
use foregate_modules::directives;
use foregate_modules::known::{self, Treatment};

fn main() {
    println!("# Directives\n");
    println!(
        "Written by `cargo xtask docs` from the modules' own tables. The meaning of each is nginx's: see its"
    );
    println!(
        "documentation. `server`, `location`, `if`, `limit_except`, `listen`, `server_name`, `include`, `http`"
    );
    println!("and `events` are read by the server itself.\n");
    println!("## Implemented\n\n| module | directive | where |\n|---|---|---|");
    let mut ours: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (module, name, scope) in directives() {
        let places = ours.entry((module, name)).or_default();
        places.extend(PLACES.iter().filter(|(it, _)| scope.contains(*it)).map(|(_, text)| *text));
    }
    for ((module, name), places) in &ours {
        println!("| {} | `{name}` | {} |", module.trim_end_matches('_'), places.join(", "));
    }
    let mine = |name: &str| ours.keys().any(|(_, it)| *it == name);
    println!("\n## Accepted with a warning\n\n| directive | why it does nothing |\n|---|---|");
    for name in known::names().filter(|it| !mine(it)) {
        if let Some(Treatment::Ignored(why)) = known::find(name).map(|it| it.treatment) {
            println!("| `{name}` | {why} |");
        }
    }
    println!("\n## Refused\n\n| directive | why | instead |\n|---|---|---|");
    for name in known::names().filter(|it| !mine(it)) {
        if let Some(Treatment::Refused { why, instead }) = known::find(name).map(|it| it.treatment) {
            println!("| `{name}` | {why} | {} |", instead.unwrap_or_default());
        }
    }
}

const PLACES: [(Scope, &str); 9] = [
    (Scope::MAIN, "main"),
    (Scope::EVENTS, "events"),
    (Scope::HTTP, "http"),
    (Scope::SERVER, "server"),
    (Scope::LOCATION, "location"),
    (Scope::SERVER_IF, "if in server"),
    (Scope::LOCATION_IF, "if in location"),
    (Scope::LIMIT_EXCEPT, "limit_except"),
    (Scope::UPSTREAM, "upstream"),
];
