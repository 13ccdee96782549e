"""What an operation test says: each sentence in English for the terminal, in Japanese for the report that is filed.

A value whose name ends in ``_en`` or ``_ja`` is for that language alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self


@dataclass(frozen=True)
class Remark:
    """One sentence, by its key in `WORDS`, and what stands in its braces."""

    key: str
    values: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, key: str, **values: object) -> Self:
        return cls(key, tuple((name, str(value)) for name, value in values.items()))

    @property
    def english(self) -> str:
        return WORDS[self.key][0].format(**dict(self.values))

    @property
    def japanese(self) -> str:
        return WORDS[self.key][1].format(**dict(self.values))


#: Each sentence, English and Japanese.
WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # --- before it begins
        "weekend": (
            "Today is a {day_en}: ZEUS allows the test on weekdays only, and nobody helps today.",
            "{day_ja}の実施です。運用テストは平日に行う決まりで、ゼウスの担当者も対応できません。",
        ),
        "holiday": (
            "Today is a public holiday in Japan ({name_en}): ZEUS allows the test on working days only.",
            "祝日（{name_ja}）の実施です。運用テストは祝日を除く平日に行う決まりです。",
        ),
        "out_of_hours": (
            "It is {time} in Japan: ZEUS allows the test from 9:00 to 17:30, when its set-up is sure to be finished.",
            "{time}の実施です。運用テストは9:00から17:30までに行う決まりです。",
        ),
        "holidays_unknown": (
            "Public holidays were not looked at: pip install 'Flask-Zeus-CVS[holidays]'.",
            "祝日にあたるかどうかは調べていません（追加パッケージ holidays がありません）。",
        ),
        "sandbox": (
            "{host} is this machine: a sandbox, not ZEUS. This is an exercise and no operation test.",
            "送信先 {host} はゼウスではなく、手元のサンドボックスです。この記録は練習のものです。",
        ),
        "goods_stay": (
            "The payments are tests: no money moves, and goods do not ship (ZEUS_CVS_TEST_FULFILLS is off).",
            "テスト決済です。お金は動かず、商品は発送されません（ZEUS_CVS_TEST_FULFILLSは無効）。",
        ),
        "goods_ship": (
            "ZEUS_CVS_TEST_FULFILLS is set: your shop will SHIP for this test. Remove it before you go live.",
            "ZEUS_CVS_TEST_FULFILLSが有効なため、テスト決済でも発送処理が動きます。公開前に外してください。",
        ),
        "interrupted": (
            "The run was broken off; what it had not come to is left open.",
            "途中で中断しました。そこまでに確かめられなかった項目は未確認としています。",
        ),
        "database_failed": (
            "The database failed in the middle ({error}); what had not been looked at by then is left open.",
            "途中でデータベースに障害がありました（{error}）。そこまでに確かめられなかった項目は未確認としています。",
        ),
        # --- 1: sent and registered
        "answered": ("ZEUS answered after {seconds} s.", "{seconds}秒で応答がありました。"),
        "not_sent": (
            "{host} could not be reached, and nothing was sent: {reason}. Look at ZEUS_CVS_ENDPOINT, at the firewall's "
            "way out, at the name's address (DNS), and at HTTPS_PROXY.",
            "{host} に接続できず、何も送信されていません（{reason}）。ZEUS_CVS_ENDPOINT、外向きのファイアウォール、"
            "DNS、HTTPS_PROXYを確かめてください。",
        ),
        "unanswered": (
            "The application left, and no whole answer came: {reason}. A slip may exist: see ZEUS's screen. If ZEUS was "
            "slow, raise ZEUS_CVS_READ_TIMEOUT.",
            "申込は送信されましたが、応答を最後まで受け取れませんでした（{reason}）。登録されている場合があるため、"
            "売上管理画面で確かめてください。応答が遅いときはZEUS_CVS_READ_TIMEOUTを延ばしてください。",
        ),
        "not_understood": (
            "The answer is none of ZEUS's: something in between (a proxy, a page of maintenance) may have given it. "
            "Look at ZEUS_CVS_ENDPOINT and HTTPS_PROXY, then try again.",
            "応答がゼウスの形式ではありません。途中の機器やメンテナンス画面が応答した可能性があります。"
            "ZEUS_CVS_ENDPOINTとHTTPS_PROXYを確かめて、もう一度お試しください。",
        ),
        "registered": ("Order number {order_no}.", "オーダー番号 {order_no}"),
        "no_order_no": (
            "The answer has no order number: ask ZEUS.",
            "応答にオーダー番号がありません。ゼウスにお問い合わせください。",
        ),
        "named_parameter": (
            "ZEUS named the parameter {parameter} as wrong.",
            "ゼウスがパラメータ {parameter} の誤りを知らせました。",
        ),
        "declined": (
            "ZEUS declined with error code {code} ({meaning_en}).",
            "エラーコード {code}（{meaning_ja}）で断られました。",
        ),
        "declined_bare": (
            "ZEUS declined without an error code: ask ZEUS.",
            "エラーコードなしで断られました。ゼウスにお問い合わせください。",
        ),
        "cure_test_id": (
            "Most likely the test id is wrong, or not yet set up: copy it anew from テストカード番号管理 on ZEUS's "
            "screen.",
            "テストIDの誤りか、まだ設定されていないことが考えられます。"
            "売上管理画面の「テストカード番号管理」から写し直してください。",
        ),
        "cure_client_ip": (
            "Compare ZEUS_CVS_CLIENT_IP with the 10 digits that ZEUS issued; leading zeros matter.",
            "ZEUS_CVS_CLIENT_IPを、ゼウスが発行した10桁のIPコードと照らし合わせてください（先頭の0も必要です）。",
        ),
        "cure_service": (
            "The service is stopped, or not open yet, for this IP code, or the IP code is another's. "
            "Compare ZEUS_CVS_CLIENT_IP, then ask ZEUS's sales.",
            "このIPコードのサービスが停止中か未開始、またはIPコードの誤りです。ZEUS_CVS_CLIENT_IPを確かめたうえで、"
            "ゼウスの営業担当にお問い合わせください。",
        ),
        "cure_store": (
            "Your contract lacks {store}: take it out of ZEUS_CVS_STORES, or ask ZEUS's sales for it.",
            "ご契約に{store}が含まれていません。ZEUS_CVS_STORESから外すか、ゼウスの営業担当にお申し出ください。",
        ),
        "cure_later": (
            "It is down for maintenance: try again later, or another --store.",
            "メンテナンス中です。時間をおくか、ほかのコンビニでお試しください。",
        ),
        "cure_support": (
            "Try again; if it stays, ask ZEUS's support: {phones}.",
            "もう一度お試しください。続くときはゼウスのサポートにお問い合わせください（{phones}）。",
        ),
        "cure_details": (
            "Give other details of the tester: --name, --phone, --email.",
            "テスト担当者の氏名・電話番号・メールアドレスを変えてお試しください。",
        ),
        "numbers": ("{numbers}; to be paid by {deadline}.", "{numbers}、支払期限 {deadline}"),
        "numbers_missing": (
            "The answer lacks {names}: ask ZEUS.",
            "応答に{names}がありません。ゼウスにお問い合わせください。",
        ),
        "answer_faults": (
            "Values of the answer break the manual's rules and were left out: {names}.",
            "応答の値が仕様に合わず、使われませんでした：{names}",
        ),
        # --- 2: the result page
        "page_shows": (
            "The page shows {labels} as it was answered.",
            "{labels}が表示されました。",
        ),
        "page_lacks": (
            "The page does not show {what}: look at the templates and ZEUS_CVS_TEXTS of your own.",
            "結果ページに{what}が表示されません。独自のテンプレートとZEUS_CVS_TEXTSを確かめてください。",
        ),
        "page_failed": (
            "The page could not be opened: {reason}. See the shop's log.",
            "結果ページを開けませんでした（{reason}）。ショップのログを確かめてください。",
        ),
        "page_seven": (
            "7-Eleven's customers are led on to the collection agency's page.",
            "セブン-イレブンのお客様は、収納代行会社の画面に移動します。",
        ),
        "page_private": (
            "Plain http is refused, and the page forbids to store it (no-store).",
            "httpでは開けず、保存を禁じる指定（no-store）があります。",
        ),
        "page_over_http": (
            "The shop answered a plain http request (HTTP {status}): remove ZEUS_CVS_REQUIRE_HTTPS = False, and set "
            "ProxyFix if https ends at a proxy.",
            "httpの要求に応答しました（HTTP {status}）。ZEUS_CVS_REQUIRE_HTTPS = False を外し、"
            "プロキシでhttpsを終端する場合はProxyFixを設定してください。",
        ),
        "page_stored": (
            "The page lacks Cache-Control: no-store: look at what your shop does after each request.",
            "結果ページにCache-Control: no-storeがありません。ショップ側のafter_requestの処理を確かめてください。",
        ),
        # --- 3: the notices
        "came": ("All came: {notices_en}.", "{notices_ja}"),
        "came_so_far": ("Came: {notices_en}.", "届いたもの：{notices_ja}"),
        "missing": (
            "Did not come: {statuses}; the run waited {waited_en}.",
            "届かなかったもの：{statuses}（待った時間：{waited_ja}）",
        ),
        "nothing_came": ("None came.", "1件も届きませんでした。"),
        "cause_unconfigured": (
            "ZEUS_CVS_CALLBACK_IPS is not set, so every notice is refused: set it to the two addresses in ZEUS's manual.",
            "ZEUS_CVS_CALLBACK_IPSが未設定のため、すべての通知が拒否されます。"
            "仕様書にある送信元アドレス2件を設定してください。",
        ),
        "cause_address": (
            "The sender's address is not in ZEUS_CVS_CALLBACK_IPS: compare it with the two in ZEUS's manual.",
            "送信元アドレスがZEUS_CVS_CALLBACK_IPSにない。仕様書の2件と照らし合わせてください。",
        ),
        "cause_token": (
            "The URL registered with ZEUS does not end in the token of ZEUS_CVS_CALLBACK_TOKEN.",
            "ゼウスに登録したURLの末尾が、ZEUS_CVS_CALLBACK_TOKENの値と違う。",
        ),
        "cause_proxy": (
            "Behind a proxy the shop sees the proxy's address (ProxyFix is not set up), or the proxy, a firewall for "
            "web applications or a login answers in the shop's place.",
            "プロキシの内側で送信元がプロキシのアドレスに見える（ProxyFixの未設定）、"
            "またはプロキシ・WAF・ログイン画面がショップの代わりに応答している。",
        ),
        "cause_agent": (
            "On port 80: the sender's agent name is not ZEUS_CVS_CALLBACK_USER_AGENT.",
            "ポート80の場合、送信元のエージェント名がZEUS_CVS_CALLBACK_USER_AGENTと違う。",
        ),
        "cause_url": (
            "The URL is not registered with ZEUS, or another one is: the CGI call is opt-in. It should be "
            "https://YOUR-SHOP{path}.",
            "URLがゼウスに登録されていない、または違う（CGIコールは申込制）。正しくは https://（ショップ）{path} です。",
        ),
        "cause_firewall": (
            "A firewall does not let ZEUS's addresses in.",
            "ファイアウォールがゼウスのアドレスからの接続を通していない。",
        ),
        "cause_hours": (
            "The test ran outside of ZEUS's hours: its set-up may be unfinished. Repeat it on a weekday, 9:00 to 17:30.",
            "決められた時間外の実施で、ゼウス側の設定が済んでいないことがあります。平日の9:00から17:30に再度お試しください。",
        ),
        "where_to_look": (
            "Refused calls leave nothing in the database. The running shop's log names them, with the reason: a line "
            "that begins with 'A call of the callback from'. A mail of ZEUS's, CGI送信エラー通知, means that ZEUS called "
            "and got no 200; without such a mail ZEUS did not call.",
            "拒否した通知はデータベースに残りません。稼働中のショップのログに "
            "'A call of the callback from' で始まる行があれば、そこに書かれた理由が原因です。"
            "ゼウスから「CGI送信エラー通知」のメールが届いていれば、ゼウスは送信したが正常な応答（200）を得ていません。"
            "届いていなければ、ゼウスは送信していません。",
        ),
        "mend_and_resend": (
            "flask zeus-cvs check --url https://YOUR-SHOP asks the callback itself. When it is mended, have the notice "
            "sent again from ZEUS's screen (売上管理画面), or run this again.",
            "flask zeus-cvs check --url https://（ショップ） で、受信側を調べられます。"
            "直したあと、売上管理画面から通知を再送するか、このテストをもう一度実施してください。",
        ),
        "never_before": (
            "This database has never stored a notice from the callback.",
            "このデータベースには、これまで通知が1件も記録されていません。",
        ),
        "last_before": (
            "The last notice before this test was stored on {moment}.",
            "テスト前に最後に通知が記録されたのは {moment} です。",
        ),
        "others_came": (
            "{count} notices of other payments were stored meanwhile, so the callback is open: ask ZEUS about this test.",
            "その間にほかの支払いの通知が{count}件届いているため、受信はできています。ゼウスにお問い合わせください。",
        ),
        "strangers_came": (
            "{count} notices were stored meanwhile that fit no payment ({reasons_en}): they may be this test's. See the "
            "open reviews; ask ZEUS to send order_no, sendid, status and money.",
            "その間に、どの支払いにも結び付かない通知が{count}件届きました（{reasons_ja}）。このテストのものかもしれません。"
            "要確認の一覧を見て、order_no、sendid、status、moneyを送るようゼウスにお申し出ください。",
        ),
        "later_missing": (
            "The callback works, as others came. ZEUS sends 05 or 06 within 30 minutes of the 04: see on ZEUS's screen "
            "whether the test went on there, and ask ZEUS.",
            "ほかの通知は届いているため、受信はできています。05・06は04から30分以内に送られます。"
            "売上管理画面でテストが進んでいるかを確かめ、ゼウスにお問い合わせください。",
        ),
        "all_parameters": ("All 14 parameters in every notice.", "どの通知にも14項目すべてがありました。"),
        "parameters_missing": (
            "Notices lack {names}: ask ZEUS's sales for all 14 parameters.",
            "通知に{names}がありません。14項目すべての送信をゼウスの営業担当にお申し出ください。",
        ),
        "parameters_unread": (
            "{statuses}: {names} could not be read.",
            "{statuses}：{names}を読み取れませんでした。",
        ),
        "encoding_setting": (
            "The name is in Shift_JIS, as it should be, and ZEUS_CVS_CALLBACK_ENCODING is {codec}: remove that setting.",
            "氏名はShift_JISで届いています。ZEUS_CVS_CALLBACK_ENCODING（{codec}）の設定を外してください。",
        ),
        "encoding_other": (
            "The name came in {found}, not in Shift_JIS. Ask ZEUS, and whoever runs your proxy whether it rewrites "
            "addresses; until then set ZEUS_CVS_CALLBACK_ENCODING = {codec!r}.",
            "氏名がShift_JISではなく{found}で届いています。ゼウスに確認し、プロキシがURLを書き換えていないかも"
            "確かめてください。当面は ZEUS_CVS_CALLBACK_ENCODING = {codec!r} で読み取れます。",
        ),
        "encoding_twice": (
            "The name came percent-encoded twice: something between ZEUS and the shop rewrites addresses.",
            "氏名が二重にURLエンコードされています。ゼウスとショップの間の機器がURLを書き換えています。",
        ),
        "encoding_garbled": (
            "The name came garbled (Shift_JIS that was read as Latin-1): something between ZEUS and the shop rewrites "
            "addresses.",
            "氏名が文字化けしています（Shift_JISをLatin-1として読んだ形）。途中の機器がURLを書き換えています。",
        ),
        "name_narrow": (
            "The name came in half-width katakana. Nothing depends on it, but ask ZEUS whether that is meant.",
            "氏名が半角カタカナで届いています。動作に影響はありませんが、ゼウスにご確認ください。",
        ),
        "encoding_unknown": (
            "The name came in no encoding that is known: ask ZEUS how it is written.",
            "氏名の文字コードを判別できません。ゼウスにお問い合わせください。",
        ),
        "agrees": (
            "Amount, numbers and our own ids agree with what was sent and answered.",
            "金額・番号・送信した識別子が、申込および応答と一致しました。",
        ),
        "differs": (
            "{statuses}: {names} differ from what was sent or answered. Ask ZEUS.",
            "{statuses}：{names}が申込または応答と違います。ゼウスにお問い合わせください。",
        ),
        "followed": ("The payment is {state_en}.", "支払いの状態：{state_ja}"),
        "state_wrong": (
            "The payment is {state_en} and should be {wanted_en}: see flask zeus-cvs show {reference}.",
            "支払いの状態が{state_ja}です（正しくは{wanted_ja}）。flask zeus-cvs show {reference} で確かめてください。",
        ),
        "reviews": (
            "A person must look ({reasons_en}): flask zeus-cvs show {reference}.",
            "要確認の記録があります（{reasons_ja}）。flask zeus-cvs show {reference} で確かめてください。",
        ),
        "shipped": (
            "fulfillment_ready was sent for a test: the running shop has ZEUS_CVS_TEST_FULFILLS.",
            "テスト決済で発送の合図（fulfillment_ready）が出ました。稼働中のショップでZEUS_CVS_TEST_FULFILLSが有効です。",
        ),
        "called": ("{count} calls succeeded: {names}.", "{count}回すべて成功しました：{names}"),
        "nobody_listens": (
            "No receiver listens to {kinds}, so there was nothing to call. fulfillment_ready is not sent for a test: "
            "try shipping with flask zeus-cvs drill.",
            "{kinds}を受け取る処理がないため、呼び出しはありませんでした。発送の合図（fulfillment_ready）は"
            "テストでは出ません。flask zeus-cvs drill で確かめてください。",
        ),
        "receiver_failed": (
            "{name} failed with {kind}: {error}. A test's payment belongs to no order of yours: let the receiver bear "
            "that (event.test is true), then flask zeus-cvs deliver --retry {name}.",
            "{name}が{kind}で失敗しました（{error}）。テストの支払いに対応する注文はありません（event.testが真）。"
            "それを扱えるように直し、flask zeus-cvs deliver --retry {name} を実行してください。",
        ),
        "receiver_waits": (
            "{name} has not been called for {kind}: with ZEUS_CVS_DELIVERY = deferred, does cron run "
            "flask zeus-cvs deliver?",
            "{name}が{kind}でまだ呼ばれていません。ZEUS_CVS_DELIVERYがdeferredの場合、"
            "cronでflask zeus-cvs deliverが動いているか確かめてください。",
        ),
        # --- why something is open
        "person_says_yes": ("Looked at by {by}.", "{by}が確認しました。"),
        "person_says_no": ("{by}: {note}", "{by}の報告：{note}"),
        "person_skipped": ("{by} left it open.", "{by}が未確認のままとしました。"),
        "nobody_asked": (
            "Nobody was asked (--yes): look, and note it on the report.",
            "担当者に尋ねずに実施しました（--yes）。確認して、この記録に書き加えてください。",
        ),
        "broken_off": ("Not come to.", "中断したため、確かめていません。"),
        "no_slip": (
            "Nothing to look at: there is no slip.",
            "申込が登録されなかったため、確かめられません。",
        ),
        "no_notice": ("Nothing to look at: no notice came.", "通知が届かなかったため、確かめられません。"),
        "not_all_came": (
            "As far as the notices came: {state_en}.",
            "届いた通知の範囲では：{state_ja}",
        ),
    }
)
