//! Tests that have a machine's network to themselves: ports 53, 80 and 443, and any loopback address.
//!
//! A thread cannot enter a user namespace, so the test binary runs the one test once more, in a child that
//! is born inside; there the whole harness works as it does outside. No processes are held here.

use std::env;
use std::process::Command;

use super::{PATIENCE, is_root, run_for};

/// Set in the child.
const MARK: &str = "SACHDNS_TEST_NAMESPACE";

/// Runs `test`, the closure that is all of a test, in a network namespace of its own, with the loopback interface up.
///
/// Programs that look for a way out of the machine find one that leads nowhere: the interface `uplink`.
#[track_caller]
pub(crate) fn inside<F: FnOnce()>(test: F) {
    if env::var_os(MARK).is_some() {
        test();
        return;
    }
    let name = std::any::type_name::<F>();
    let name =
        name.trim_start_matches(concat!(env!("CARGO_CRATE_NAME"), "::")).trim_end_matches("::{{closure}}");
    let mut child = Command::new("unshare");
    child.args(if is_root() { &["--net"][..] } else { &["--user", "--map-root-user", "--net"] });
    child.args(["sh", "-c", NETWORK, "sh"]).arg(env::current_exe().unwrap());
    // Found by its name, which is the only thing that libtest takes.
    let finished = run_for(
        // Longer than any wait in there, so that it is the one who tells.
        4 * PATIENCE,
        child.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, "1"),
    );
    let text = format!("{}\n{}", finished.stdout, finished.stderr);
    assert!(finished.status.success(), "{name}, in a namespace of its own:\n{text}");
    assert!(text.contains("1 passed"), "no test has the name {name}:\n{text}");
}

/// Makes the network and becomes the test, which ends with whoever waits for it.
const NETWORK: &str = r#"
ip link set lo up &&
ip link add uplink type veth peer name nowhere &&
ip link set nowhere up &&
ip address add 198.51.100.1/24 dev uplink &&
ip link set uplink up || {
    echo 'no network namespace: it takes root, or unprivileged user namespaces, and iproute2' >&2
    exit 1
}
exec setpriv --pdeathsig KILL "$@"
"#;
