//! The smallest service: it answers health checks and reflection, and has a task that waits for the end. The runtime's
//! tests start it as a program.

use std::process::ExitCode;

use roadstead_rpc::{AllowList, Peer, Readiness, RpcServer, TaskSet};
use roadstead_runtime::{BuiltService, Program, ServiceContext, Validate};

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    delivery: bool,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.delivery {
            problems.push("delivery: this service delivers nothing".to_owned());
        }
    }
}

const PROGRAM: Program = Program {
    peer: Peer::Events,
    calls: &[Peer::Auth],
    needs_public_address: false,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |_: Config, context: ServiceContext| {
        let tasks = TaskSet::new(context.shutdown.clone());
        let token = context.shutdown.clone();
        tasks.spawn("wait", async move { token.cancelled().await });
        let readiness = Readiness::new();
        readiness.set_ready();
        let server = RpcServer::new(Peer::Events, AllowList::new()).with_readiness(readiness.clone());
        Ok(BuiltService {
            server,
            tasks,
            readiness,
        })
    })
}
