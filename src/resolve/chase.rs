//! Aliases that lead out of what a zone's masters know: their targets are asked for, and both are one answer.
//!
//! Who resolves for us follows aliases by himself; masters name the target, and leave it at that
//! (RFC 1034, section 4.3.2, step 3a, where the name is in no zone of theirs).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::answer::Answer;
use super::chain::Chain;
use super::exchange::Ask;
use super::{OTHER, Resolver, failure};
use crate::wire::{Response, rcode};

impl Resolver {
    /// The answer with what its aliases lead to, where they lead to anything that is not in it. `ask` is what was
    /// asked for it.
    pub(super) async fn chase(self: &Arc<Self>, answer: Answer, ask: &Ask, longest: Duration) -> Answer {
        let Some((_, kind)) = ask.question.split_last_chunk::<4>() else { return answer };
        let target = match Response::parse(answer.message()) {
            Ok(response) if answer.rcode() == rcode::NOERROR => {
                Chain::of(&response).open_end(&response, u16::from_be_bytes([kind[0], kind[1]]))
            }
            _ => None,
        };
        let Some(target) = target else { return answer };
        let further = Ask { question: [&*target, kind].concat(), ..ask.clone() };
        // Aliases between two zones may lead in a circle: then each of them waits for the other.
        match timeout(longest, Box::pin(self.resolve(further, None))).await {
            Ok(served) => answer
                .followed_by(&served.entry.answer, served.aged)
                .unwrap_or_else(|| failure(&ask.question, OTHER, "what an alias leads to makes no message")),
            Err(_) => failure(&ask.question, OTHER, "an alias leads nowhere in time"),
        }
    }
}
