//! A province in the network namespace of a test: agencies' machines in namespaces of their own, with cables to ours.
//!
//! A machine is a shell that holds its namespace and ends with the test. To be used inside [`super::namespace::inside`].

use std::process::{Child, Command, Stdio};

use super::{Finished, Lines, PATIENCE, run, spawn, within};

/// A machine, or a router.
pub(crate) struct Machine {
    holder: Child,
}

impl Machine {
    /// One without any cable.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "setpriv", "--pdeathsig", "KILL", "sh", "-c"]);
        command.arg("ip link set lo up && echo up && read -r _");
        let mut holder = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let said = Lines::follow(holder.stdout.take().unwrap());
        assert!(said.wait(PATIENCE, |line| line == "up").is_some(), "no network namespace");
        Self { holder }
    }

    /// One at this address (with its length), with a cable to us, where `gateway` is.
    #[track_caller]
    pub(crate) fn behind(gateway: &str, address: &str) -> Self {
        let machine = Self::new();
        machine.plug(None, gateway, address);
        machine
    }

    /// Lays a cable between `other`, or ourselves, and this machine, which goes through `gateway` (an address with its
    /// length, at the other end) from then on.
    #[track_caller]
    pub(crate) fn plug(&self, other: Option<&Self>, gateway: &str, address: &str) {
        let pid = self.holder.id();
        let port = self.port();
        let there = other.map_or_else(Vec::new, Self::words);
        let on = |words: &[String], script: &str| {
            run(within(words, "sh").args(["-ec", script])).well();
        };
        // Both ends are made here, and one or both moved.
        on(&[], &format!("ip link add {port} type veth peer name eth0 netns {pid}"));
        if let Some(other) = other {
            on(&[], &format!("ip link set {port} netns {}", other.holder.id()));
        }
        on(&there, &format!("ip address add {gateway} dev {port}; ip link set {port} up"));
        let via = gateway.split('/').next().unwrap();
        on(
            &self.words(),
            &format!(
                "ip address add {address} dev eth0; ip link set eth0 up; ip route add default via {via}"
            ),
        );
    }

    /// What the other end of its cable is called there.
    pub(crate) fn port(&self) -> String {
        format!("p{}", self.holder.id())
    }

    /// What stands in front of a command that runs on it.
    pub(crate) fn words(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.holder.id())]
    }

    /// Runs a program on it.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        run(within(&self.words(), program).args(arguments))
    }

    /// Starts a program on it, which ends with the test.
    #[track_caller]
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = within(&self.words(), "setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        Program(spawn(command.stdin(Stdio::null()).stdout(Stdio::null())))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A program that runs on a machine.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
