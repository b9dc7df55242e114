//! Who may go on with a job whose client is away.

use loaner::rtc::{DataPlane, Incoming};
use loaner::tunnel::tube::{Tube, Word};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{ByHand, Lab, PATIENCE, zip};

/// The next text that begins like this.
async fn until(tube: &Tube, begins: &str) {
    let heard = async {
        loop {
            match tube.recv().await {
                Some(Incoming::Text(text)) if text.starts_with(begins) => return,
                Some(_) => {}
                None => panic!("the tube is closed before `{begins}` came"),
            }
        }
    };
    let heard = timeout(PATIENCE, heard).await;
    heard.unwrap_or_else(|_| panic!("no `{begins}` came"));
}

/// While the client of a job is away, nobody gets hold of the job, or of the worker: not by the tube's id without its token or with
/// a wrong one, not another user with the right one, and not by asking for a job. Its user, with its token, goes on with it
/// over another connection, as another peer of the room, and has the results.
#[actix_rt::test]
async fn only_its_user_with_its_token_goes_on_with_a_job() {
    let lab = Lab::new().await;
    let mut owner = lab.user().await;
    owner.reserve(&lab.worker_id).await;
    let first = ByHand::offer(&mut owner, &lab.worker_id).await;
    let Some(Word::Begun { id, token }) = first.ask(&Word::Begin).await else {
        panic!("no tube begins");
    };
    let (tube, _signs) = Tube::new(&DataPlane::start().unwrap());
    tube.carry(first.channel.clone(), 1, 0).await.unwrap();
    tube.ping(1);
    let archive = zip(&lab.gated_package());
    let meta = format!("FILE_META::slow.zip:{}:False", archive.len());
    for text in ["PACKAGE_TYPE::train", "OUTPUT_DIR::models", &meta] {
        tube.send_text(text).await.unwrap();
    }
    tube.send_binary(archive.into()).await.unwrap();
    tube.send_text("END_OF_FILE").await.unwrap();
    until(&tube, "begun").await;
    first.hang_up().await;
    lab.worker
        .logged("the path to the client is gone for now")
        .await;

    let resume = |token: &str, have| Word::Resume {
        id: id.clone(),
        token: token.to_owned(),
        generation: 2,
        have,
    };
    let mut stranger = lab.user().await;
    let wrong = "0".repeat(token.len());
    for (is_owner, token) in [
        (true, wrong.as_str()),
        (true, &token[1..]),
        (true, ""),
        (false, ""),
        (false, token.as_str()),
    ] {
        let peer = if is_owner { &mut owner } else { &mut stranger };
        let another = ByHand::open(peer, &lab.worker_id, Some(&id)).await;
        let answer = another.ask(&resume(token, 0)).await;
        assert_eq!(answer, Some(Word::Refused), "{is_owner} {token}");
        let closed = timeout(PATIENCE, another.channel.closed()).await;
        closed.expect("it is not closed");
    }
    let job =
        json!({ "app_message_type": "job_request", "job_id": "theirs", "job_type": "training" });
    stranger.message(&lab.worker_id, job);
    let answer = stranger.hear_message("job_response").await;
    assert_eq!(answer["accepted"], false, "{answer}");

    let mut again = lab.again(owner.id_token.clone()).await;
    let second = ByHand::open(&mut again, &lab.worker_id, Some(&id)).await;
    let have = tube.detach().await;
    let answer = second.ask(&resume(&token, have)).await;
    let Some(Word::Resumed { have }) = answer else {
        panic!("its user may not go on with it: {answer:?}");
    };
    tube.carry(second.channel.clone(), 2, have).await.unwrap();
    tube.ping(2);
    lab.open_gate();
    until(&tube, "END_OF_FILE").await;
    until(&tube, "JOB_COMPLETE").await;
    lab.until_free().await;
}
