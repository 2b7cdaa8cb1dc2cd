//! Bailiwick as it is shipped, on a real node: the image of the Dockerfile, the chart with default values, kubelet, containerd
//! and kube-proxy.
//!
//! The tests share one node and run in this order, because they tell the life of one installation. Where the machine can't
//! run a node, they are skipped, and the last line counts them.

#![allow(
    clippy::print_stderr,
    reason = "who runs the tests has to learn why they were skipped"
)]

mod installation;
mod machine;
mod outage;
mod site;
mod workloads;

use bailiwick_e2e::node;
use libtest_mimic::{Arguments, Trial};
use site::on_node;

fn main() {
    let mut arguments = Arguments::from_args();
    // One node, one story.
    arguments.test_threads = Some(1);
    let missing = node::missing();
    let mut trials = vec![
        on_node(
            "a_chart_with_default_values_is_ready_and_decides",
            installation::install,
        ),
        on_node(
            "helm_test_asks_the_webhook_through_its_service",
            installation::helm_test,
        ),
        on_node(
            "containers_are_locked_down",
            installation::containers_are_locked_down,
        ),
        on_node("pods_of_every_controller_carry_the_label", workloads::controllers),
        on_node("pods_are_used_as_ever", workloads::pods_are_used_as_ever),
        on_node(
            "the_kubelet_does_its_work_in_tenants_namespaces",
            workloads::kubelet,
        ),
        on_node(
            "no_review_fails_while_the_webhook_is_rolled_out",
            outage::rolling_update,
        ),
        on_node("a_killed_webhook_opens_nothing", outage::killed_pod),
        on_node("a_hung_webhook_is_restarted", outage::hung_pod),
        on_node("a_drain_leaves_a_webhook", outage::drain),
        on_node(
            "tenants_live_through_upgrade_and_rollback",
            installation::upgrade_and_rollback,
        ),
        on_node(
            "tenants_live_through_uninstall_and_reinstall",
            installation::uninstall_and_reinstall,
        ),
        on_node("a_cluster_starts_cold_with_the_webhook_in_it", outage::cold_start),
        on_node("projected_tokens_are_renewed", workloads::tokens_are_renewed),
        Trial::test("nothing_of_the_node_is_left", || Ok(machine::nothing_is_left()?)),
        Trial::test("a_crashed_node_is_cleaned_up", || {
            Ok(machine::a_crashed_node_is_cleaned_up()?)
        }),
        Trial::test("taken_addresses_are_named", || {
            Ok(machine::taken_addresses_are_named()?)
        }),
    ];
    if let Some(missing) = &missing {
        eprintln!("{} tests on a real node are skipped: {missing}", trials.len());
        trials = trials.into_iter().map(|it| it.with_ignored_flag(true)).collect();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the process ends: the node is a value in a static, which nobody drops.
    site::tear_down();
    conclusion.exit();
}
