//! The page that lists the API for people.

use maud::html;

use super::{Body, ENDPOINTS};
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::routes::Needs;
use crate::console::{shell, token};

/// Lists every endpoint.
pub(super) fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let body = html! {
        p { (tongue.say(
            "Giao diện lập trình (API) trả về JSON, cùng dữ liệu và cùng phạm vi như trên các trang. Gửi kèm tiêu đề ",
            "The API answers JSON: the same data as the pages, within the same scope. Send the header ",
        )) code { "Authorization: Bearer TOKEN" } "." }
        p { a href="/api/v1/openapi.json" { "openapi.json" } (tongue.say(" — mô tả đầy đủ theo OpenAPI 3.1.", " — the whole description, OpenAPI 3.1.")) }
        @for part in ENDPOINTS {
            @if let Some(first) = part.first() {
                h2 { (first.tag) }
                @for endpoint in *part {
                    section {
                        h3 { code { (endpoint.route.method.as_str()) " " (endpoint.route.path) } }
                        p { (endpoint.summary)
                            @if let Needs::Right(right) = endpoint.route.needs {
                                " " (tongue.say("Quyền: ", "Right: ")) code { (token::word(right)) } "."
                            }
                        }
                        @let body = match endpoint.body { Body::Json(fields) => fields, _ => &[] };
                        @if !endpoint.query.is_empty() || !body.is_empty() {
                            dl {
                                @for field in endpoint.query.iter().chain(body) {
                                    dt { code { (field.name) } @if field.is_required { " *" } }
                                    dd { (field.about) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(shell::page(call, tongue.say("Giao diện lập trình", "API"), &body))
}
