//! What is infected, what is new, what is overdue, and whether the service is well: in ten seconds.

use maud::html;

use super::super::access::Right;
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use crate::cases::CaseFilter;

pub(in crate::console) static ROUTES: &[Route] = &[get("/", Needs::Right(Right::See), page)];

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let cases = call.data()?.cases(&CaseFilter { limit: Some(20), ..CaseFilter::default() })?;
    let body = html! {
        p { (tongue.say("Ca xử lý: ", "Cases: ")) (tongue.number(cases.len() as u64)) }
    };
    Ok(shell::page(call, tongue.say("Tổng quan", "Overview"), &body))
}
