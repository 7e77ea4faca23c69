//! What people send who mean harm, against real processes: a table for each kind of attack, and a row for each attack.
//!
//! Every row asserts the answer, and that nothing was stored by it that should not be. After each table the registry must
//! be well: the same processes, ready, with the memory they had, and no secret in any answer, log or metric.

mod arena;
mod bodies;
mod doors;
mod forge;
mod frames;
mod grpc;
mod heads;
mod http2;
mod idle;
mod manifests;
mod names;
mod paths;
mod queries;
mod ranges;
mod request;
mod secrets;
mod slow;
mod smuggling;
mod store;
mod strangers;
mod table;
mod tokens;
mod wire;

/// Makes a test of each table, which is a module with a `TABLE`. A table of `both` is played against one process and against five; the
/// others where what they attack is.
macro_rules! tables {
    (both: $($both:ident),+; all_in_one: $($one:ident),*; split: $($split:ident),*;) => {
        mod all_in_one {
            tables!(@test AllInOne: $($both,)+ $($one,)*);
        }

        mod split {
            tables!(@test Split: $($both,)+ $($split,)*);
        }

        /// Every table with its name.
        fn tables() -> Vec<(&'static str, table::Table)> {
            vec![
                $((stringify!($both), $both::TABLE),)+
                $((stringify!($one), $one::TABLE),)*
                $((stringify!($split), $split::TABLE),)*
            ]
        }
    };
    (@test $mode:ident: $($table:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $table() -> anyhow::Result<()> {
            let mode = roadstead_integration_tests::Mode::$mode;
            Box::pin(crate::table::play(stringify!($table), mode, crate::$table::TABLE)).await
        })*
    };
}

tables! {
    both: names, paths, queries, ranges, manifests, tokens, smuggling, bodies, heads, grpc, http2, doors, slow;
    all_in_one: idle;
    split: strangers;
}

/// Rows get lost when tables are rewritten; this says so.
#[test]
fn no_case_was_lost() {
    const AT_LEAST: usize = 300;
    let mut names = std::collections::BTreeSet::new();
    for (name, table) in tables() {
        let cases = (table.cases)();
        println!("{name}: {}", cases.len());
        for case in cases {
            let is_new = names.insert(format!("{name}: {}", case.name));
            assert!(is_new, "{name}: {:?} is there twice", case.name);
        }
    }
    println!("{} cases", names.len());
    assert!(
        names.len() >= AT_LEAST,
        "{} cases are fewer than {AT_LEAST}",
        names.len()
    );
}
