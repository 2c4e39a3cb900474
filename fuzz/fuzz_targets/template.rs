//! Any bytes as a value with variables, any others as what captures hold: a value compiles or says where it is wrong,
//! and what it becomes is its text and its variables' values, whatever these hold.
#![no_main]

use foregate_conf::{Span, Word};
use foregate_core::testing::House;
use foregate_core::{Exchange, Prefix, Template, Variable, Variables};
use libfuzzer_sys::fuzz_target;

static NAME: Variable = Variable::new("name", |_, out| {
    out.extend_from_slice(b"<value>");
    true
});
static NONE: Variable = Variable::new("none", |_, _| false);
static FAMILY: Prefix = Prefix {
    name: "arg_",
    get: |_, name, out| {
        out.extend_from_slice(name.as_bytes());
        true
    },
};

fuzz_target!(|data: &[u8]| {
    let variables = Variables::new(
        |name| [&NAME, &NONE].into_iter().find(|it| it.name == name),
        |name| name.starts_with(FAMILY.name).then_some(&FAMILY),
    );
    let word = Word::new(data.to_vec(), Span::default(), true);
    let Ok(template) = Template::compile(&word, &variables) else { return };
    let mut house = House::default();
    house.variables = variables;
    let mut ex: Exchange = house.exchange("GET /");
    let filled = template.fill_new(&mut ex);
    assert_eq!(filled, template.fill_new(&mut ex), "the same twice");
    let mut logged = Vec::new();
    template.fill_escaped(&mut ex, &mut logged, b"", |_, _| ());
    assert_eq!(filled, logged);
    match template.as_constant() {
        Some(text) => assert!(text == filled && (text == data || !data.contains(&b'$'))),
        None => assert!(data.contains(&b'$')),
    }
});
