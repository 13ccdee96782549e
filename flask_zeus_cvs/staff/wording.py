"""What staff are told, in English and Japanese: states, verdicts, deliveries, events, and what to do with a review.

The terminal speaks English, the back office the language of its reader. Each table is whole: a test sees to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, Resolution, ReviewReason, Verdict


class Words(NamedTuple):
    """One thing, said in each language."""

    en: str
    ja: str

    def said(self, locale: str) -> str:
        """Return it in ``ja`` or, for any other locale, in English."""
        return self.ja if locale.startswith("ja") else self.en


@dataclass(frozen=True)
class ReviewWords:
    """A reason for a review: its name, what happened, what to look at, and what each resolution will do."""

    name: Words
    happened: Words
    look: Words
    effects: Mapping[Resolution, Words]


#: What a payment or an application is.
STATES: Mapping[State, Words] = MappingProxyType(
    {
        State.OPEN: Words("not applied for yet", "申込前"),
        State.SUBMITTING: Words("being sent to ZEUS", "ゼウスへ送信中"),
        State.UNKNOWN: Words("outcome unknown, a slip may exist", "結果不明（払込票があるかもしれません）"),
        State.DECLINED: Words("declined by ZEUS", "申込不成立"),
        State.FAILED: Words("failed or never sent", "申込エラー・未送信"),
        State.AWAITING_PAYMENT: Words("awaiting payment", "入金待ち"),
        State.EXPIRED: Words("expired, nobody paid", "期日切"),
        State.RECEIVED: Words("paid, not yet confirmed (04)", "入金済（速報）"),
        State.CONFIRMED: Words("paid, sale confirmed (05)", "売上確定"),
        State.CANCELLED: Words("payment taken back (06)", "入金取消"),
        State.SUPERSEDED: Words("replaced by a re-issue", "再発行により無効"),
        State.RECEIVED_AFTER_CANCEL: Words("paid on a re-issued slip's old one (11)", "キャンセル後入金"),
        State.CONFIRMED_AFTER_CANCEL: Words("the same, sale confirmed (12)", "キャンセル後売上"),
        State.CANCELLED_AFTER_CANCEL: Words("the same, taken back (13)", "キャンセル後取消"),
        State.CLOSED: Words("closed by the shop", "受付終了"),
    }
)

#: What became of a notice.
VERDICTS: Mapping[Verdict, Words] = MappingProxyType(
    {
        Verdict.APPLIED: Words("changed the state", "状態に反映"),
        Verdict.NO_EFFECT: Words("changed nothing", "変化なし"),
        Verdict.REVIEW: Words("did not fit: a review", "要確認"),
        Verdict.WAITING: Words("waits until its order number is known", "オーダー番号の判明待ち"),
        Verdict.UNREADABLE: Words("could not be read", "読み取り不能"),
    }
)

#: Where a delivery stands.
DELIVERY_STATES: Mapping[DeliveryState, Words] = MappingProxyType(
    {
        DeliveryState.PENDING: Words("due, or waiting for its next try", "未配信（再試行待ちを含む）"),
        DeliveryState.DONE: Words("done", "配信済み"),
        DeliveryState.PARKED: Words(
            "parked: given up on, retry or dismiss it", "保留（再試行か取りやめの判断待ち）"
        ),
        DeliveryState.OBSOLETE: Words("overtaken, not sent", "状況が変わったため配信せず"),
        DeliveryState.DISMISSED: Words("dismissed by a person", "担当者が取りやめ"),
    }
)

#: What subscribers heard.
EVENTS: Mapping[EventKind, Words] = MappingProxyType(
    {
        EventKind.APPLICATION_ACCEPTED: Words("a slip exists", "払込票の発行"),
        EventKind.APPLICATION_DECLINED: Words("ZEUS declined", "申込不成立"),
        EventKind.PAYMENT_RECEIVED: Words("paid at the till", "入金速報"),
        EventKind.SALE_CONFIRMED: Words("sale confirmed", "売上確定"),
        EventKind.FULFILLMENT_READY: Words("goods may ship", "出荷可"),
        EventKind.PAYMENT_CANCELLED: Words("payment taken back", "入金取消"),
        EventKind.PAYMENT_EXPIRED: Words("nobody paid", "期日切"),
        EventKind.DEADLINE_NEAR: Words("the deadline is near", "期限間近"),
        EventKind.PAYMENT_RECEIVED_AFTER_CANCEL: Words("paid on the old slip", "キャンセル後入金"),
        EventKind.SALE_CONFIRMED_AFTER_CANCEL: Words("sale of the old slip confirmed", "キャンセル後売上"),
        EventKind.PAYMENT_CANCELLED_AFTER_CANCEL: Words(
            "payment of the old slip taken back", "キャンセル後取消"
        ),
        EventKind.REVIEW_REQUIRED: Words("a person must look", "要確認"),
        EventKind.SILENCE_SUSPECTED: Words("notices stay away", "通知の途絶の疑い"),
    }
)

#: What a person decided.
RESOLUTIONS: Mapping[Resolution, Words] = MappingProxyType(
    {
        Resolution.RECEIVED: Words("paid", "入金済とする"),
        Resolution.CONFIRMED: Words("paid and certain", "売上確定とする"),
        Resolution.CANCELLED: Words("taken back", "入金取消とする"),
        Resolution.IGNORED: Words("nothing to change", "変更しない"),
    }
)

#: Where a notice came from; a name that is not here is that of a file.
SOURCES: Mapping[str, Words] = MappingProxyType({"callback": Words("ZEUS's call", "CGIコール")})

#: What ZEUS's error codes mean.
ERRORS: Mapping[str, Words] = MappingProxyType(
    {
        "800000": Words(
            "settings or data wrong: the shop's to mend", "設定またはデータの誤り（ショップ側で要修正）"
        ),
        "800001": Words("ZEUS has stopped the service for this IP code", "このIPコードのサービスは停止中"),
        "800002": Words("store not available", "利用できないコンビニ"),
        "900000": Words(
            "data or communication error between shop and ZEUS", "ショップとゼウスの間のデータ・通信エラー"
        ),
        "0011": Words(
            "data error between ZEUS and the collection agency", "ゼウスと収納代行会社の間のデータエラー"
        ),
        "0008": Words("maintenance of the agency or the store", "収納代行会社・コンビニのメンテナンス中"),
        "0013": Words("maintenance of ZEUS or the agency", "ゼウス・収納代行会社のメンテナンス中"),
    }
)

_PAID = Words(
    "It counts as paid: if it did not before, payment_received is told. The goods ship, once, as ZEUS_CVS_FULFILL_ON "
    "says.",
    "入金済になります。これまで入金済でなければpayment_receivedが通知されます。商品はZEUS_CVS_FULFILL_ONの設定どおりに、一度だけ出荷可になります。",
)
_CERTAIN = Words(
    "It counts as paid for certain: if it did not before, sale_confirmed is told. The goods ship, once.",
    "売上確定になります。これまで売上確定でなければsale_confirmedが通知されます。商品は一度だけ出荷可になります。",
)
_TAKEN_BACK = Words(
    "It counts as taken back: if it did not before, payment_cancelled is told. What has not shipped does not ship.",
    "入金取消になります。これまで入金取消でなければpayment_cancelledが通知されます。未出荷の商品は出荷されません。",
)
_NOTHING = Words(
    "Only the question is closed: the state stays as it is, and nobody is told.",
    "確認を終えるだけです。状態は変わらず、何も通知されません。",
)
_EFFECTS: Mapping[Resolution, Words] = {
    Resolution.RECEIVED: _PAID,
    Resolution.CONFIRMED: _CERTAIN,
    Resolution.CANCELLED: _TAKEN_BACK,
    Resolution.IGNORED: _NOTHING,
}
#: Of a notice that belongs to no payment yet.
_OF_WHOM: Mapping[Resolution, Words] = {
    Resolution.RECEIVED: Words(
        "Say whose it is: its slip becomes one of that payment, which counts as paid, and the goods ship, once.",
        "どの支払いのものかを指定してください。その支払いの払込票として扱い、入金済にします。商品は一度だけ出荷可になります。",
    ),
    Resolution.CONFIRMED: Words(
        "Say whose it is: the same, and the money counts as certain.",
        "どの支払いのものかを指定してください。その支払いを売上確定にします。商品は一度だけ出荷可になります。",
    ),
    Resolution.CANCELLED: Words(
        "Say whose it is: its slip becomes one of that payment, and counts as taken back.",
        "どの支払いのものかを指定してください。その支払いの払込票として扱い、入金取消にします。",
    ),
    Resolution.IGNORED: Words(
        "Only the question is closed: the notice is kept and books nothing.",
        "確認を終えるだけです。通知は残りますが、どこにも計上されません。",
    ),
}
#: Of money that is booked already and waits for a person before anything ships.
_SHIPS_NEVER = Words(
    "The money stays booked, and by itself it ships nothing, not even once the sale is confirmed.",
    "入金の記録は残りますが、売上確定になっても自動では出荷されません。",
)


def _explained(
    name: Words, happened: Words, look: Words, usual: Mapping[Resolution, Words] = _EFFECTS, **other: Words
) -> ReviewWords:
    effects = {**usual, **{Resolution(key): words for key, words in other.items()}}
    return ReviewWords(name, happened, look, MappingProxyType(effects))


#: Each reason for a review.
REVIEWS: Mapping[ReviewReason, ReviewWords] = MappingProxyType(
    {
        ReviewReason.OUT_OF_ORDER: _explained(
            Words("a notice that does not fit", "状態に合わない通知"),
            Words(
                "ZEUS told of something that cannot follow from the state the payment was in. The state stayed, "
                "except that a refused application of which ZEUS tells as payable awaits its payment.",
                "その時点の状態からは起こり得ない通知が届きました。状態は変えていません"
                "（不成立の申込に未入金の通知が来た場合だけは、入金待ちにしています）。",
            ),
            Words(
                "ZEUS's screen: what does it say of this order number now?",
                "売上管理画面で、このオーダー番号の現在のステータスを確認してください。",
            ),
        ),
        ReviewReason.REPEATED_AFTER_CANCEL: _explained(
            Words("paid again after it was taken back?", "取消後に同じ入金通知"),
            Words(
                "The payment had been taken back, and a notice of its money came once more. It may be a late repeat, "
                "or the customer paid again.",
                "入金取消のあとに、同じ入金通知がもう一度届きました。遅れて届いた重複か、再度の入金かは分かりません。",
            ),
            Words(
                "ZEUS's screen: paid (04, 05) or taken back (06)? And has the parcel left?",
                "売上管理画面で入金済か入金取消かを確認してください。商品を出荷済みかどうかも確認してください。",
            ),
        ),
        ReviewReason.CANCELLED_AGAIN: _explained(
            Words("taken back after a person had said paid", "入金と判断後に取消の通知"),
            Words(
                "Somebody had decided that the money is there, and ZEUS told once more that it was taken back.",
                "担当者が入金ありと判断したあとに、入金取消の通知がもう一度届きました。",
            ),
            Words(
                "ZEUS's screen, and why the earlier decision was made (its note is in the story).",
                "売上管理画面と、前回の判断の理由（経過のメモ）を確認してください。",
            ),
            received=Words("The money stays: nothing changes.", "入金ありのままです。何も変わりません。"),
        ),
        ReviewReason.WRONG_AMOUNT: _explained(
            Words("another amount than the payment's", "金額の相違"),
            Words(
                "A notice tells of another amount than the shop charges. It was not booked.",
                "通知の金額が、ショップの請求額と違います。計上していません。",
            ),
            Words(
                "The two amounts, ZEUS's screen, and whether someone re-issued the slip there with another amount.",
                "両方の金額と売上管理画面を確認してください。画面で金額を変えて再発行していないかも確認してください。",
            ),
            received=Words(
                "The amount that came is good enough: the payment counts as paid, and the goods ship, once. "
                "Returning or claiming the difference is yours.",
                "届いた金額で了承します。入金済になり、商品は一度だけ出荷可になります。差額の返金・請求はショップで行ってください。",
            ),
            ignored=Words(
                "The money is not booked: the payment stays as it is, and an unpaid slip may expire. "
                "The 05 of the same money asks once more.",
                "計上しません。状態は変わらず、未入金のままなら期日切になることがあります。同じ金額の売上確定が届くと、再び要確認になります。",
            ),
        ),
        ReviewReason.UNKNOWN_ORDER: _explained(
            Words("an order number that nobody knows", "未知のオーダー番号"),
            Words(
                "A notice came for an order number that we never got. The answer to its application may have been "
                "lost, or someone made the slip on ZEUS's screen. If the number becomes known, this closes by itself.",
                "こちらに記録のないオーダー番号の通知が届きました。申込の結果が届かなかったか、"
                "売上管理画面で作られた可能性があります。番号が判明すれば、自動で解決します。",
            ),
            Words(
                "ZEUS's screen under this order number: whose name, which amount? Then the payment of that customer.",
                "売上管理画面でこのオーダー番号の氏名と金額を確認し、該当するお客様の支払いを探してください。",
            ),
            _OF_WHOM,
        ),
        ReviewReason.FOREIGN_MERCHANT: _explained(
            Words("another merchant's notice", "他の加盟店の通知"),
            Words(
                "A notice bears another IP code than ZEUS_CVS_CLIENT_IP. It was kept, and booked nowhere.",
                "ZEUS_CVS_CLIENT_IPと異なるIPコードの通知が届きました。保存だけして、計上していません。",
            ),
            Words(
                "Whether the IP code is one of yours (a second shop on this address?). If not, tell ZEUS.",
                "そのIPコードが自社の別ショップのものでないか確認してください。心当たりがなければゼウスに連絡してください。",
            ),
            _OF_WHOM,
        ),
        ReviewReason.UNREADABLE: _explained(
            Words("a notice that could not be read", "読み取れない通知"),
            Words(
                "Something came from ZEUS's address whose status, amount or numbers cannot be made out. "
                "Its bytes are kept.",
                "ゼウスから届いた通知の、ステータス・金額・番号のいずれかが読み取れません。内容はそのまま保存しています。",
            ),
            Words(
                "Its raw bytes, and what ZEUS's screen shows as changed at that minute.",
                "届いた内容と、その時刻に売上管理画面で変わったものを確認してください。",
            ),
            _OF_WHOM,
            received=Words(
                "Say whose it is: that payment counts as paid, and the goods ship, once.",
                "どの支払いのものかを指定してください。その支払いが入金済になり、商品は一度だけ出荷可になります。",
            ),
            cancelled=Words(
                "Say whose it is: that payment counts as taken back.",
                "どの支払いのものかを指定してください。その支払いが入金取消になります。",
            ),
        ),
        ReviewReason.ORDER_NO_DIFFERS: _explained(
            Words("an answer with another order number", "結果のオーダー番号の相違"),
            Words(
                "ZEUS's answer to the application names another order number than its notice did, or one that "
                "belongs to another application. Two slips may be out.",
                "申込の結果のオーダー番号が、通知のものと違うか、別の申込のものです。払込票が二つあるかもしれません。",
            ),
            Words(
                "ZEUS's screen: both order numbers. If the customer could pay both, tell them which one to use.",
                "売上管理画面で両方のオーダー番号を確認してください。どちらも支払える場合は、使う方をお客様に伝えてください。",
            ),
        ),
        ReviewReason.ANSWER_CONTRADICTS: _explained(
            Words("an answer against a notice", "結果と通知の矛盾"),
            Words(
                "ZEUS's answer to the application says one thing (declined, or accepted), and its notice another. "
                "What the notice said was kept; a slip that exists after all awaits its payment.",
                "申込の結果（不成立または成立）と通知の内容が食い違っています。通知の方を残し、"
                "払込票があると分かったものは入金待ちにしています。",
            ),
            Words(
                "ZEUS's screen: is there a slip, and is it paid?",
                "売上管理画面で、払込票の有無と入金の有無を確認してください。",
            ),
        ),
        ReviewReason.REISSUED_WITH_MONEY: _explained(
            Words("re-issued although money had moved", "入金後の再発行"),
            Words(
                "Someone re-issued a slip on ZEUS's screen that had been paid, or paid and taken back. "
                "The new slip can be paid, too.",
                "入金済（または入金後に取消済）の払込票が、売上管理画面で再発行されました。新しい払込票でも支払えます。",
            ),
            Words(
                "Why it was re-issued. If the old one is paid, tell the customer not to pay the new one.",
                "再発行の理由を確認してください。旧い払込票が入金済なら、新しい方を支払わないようお客様に伝えてください。",
            ),
            received=Words(
                "The old slip's money counts, and ships what has not shipped; the new slip stays payable.",
                "旧い払込票の入金を有効とし、未出荷なら出荷可になります。新しい払込票は支払えるままです。",
            ),
            cancelled=Words(
                "The old slip's money counts as taken back: payment_cancelled is told.",
                "旧い払込票を入金取消とし、payment_cancelledが通知されます。",
            ),
        ),
        ReviewReason.PAID_TWICE: _explained(
            Words("paid twice", "二重の入金"),
            Words(
                "Two slips of one payment hold money. Both are booked; the goods ship once.",
                "一つの支払いの払込票二つに入金がありました。両方とも計上し、商品の出荷は一度だけです。",
            ),
            Words(
                "Both order numbers on ZEUS's screen. You return one amount to the customer yourself.",
                "売上管理画面で両方のオーダー番号を確認し、一方をショップからお客様に返金してください。",
            ),
            received=Words(
                "Both amounts stay booked, and what has not shipped ships, once.",
                "両方の入金が残り、未出荷なら一度だけ出荷可になります。",
            ),
            cancelled=Words(
                "The later amount counts as taken back, and payment_cancelled is told: receivers that stop a parcel "
                "stop it although the first amount is there. After a refund, ignore it with a note.",
                "後の入金を取消とし、payment_cancelledが通知されます。先の入金があっても、ショップの処理が出荷を止めることがあります。"
                "返金した場合は、メモを付けて「変更しない」を選んでください。",
            ),
            ignored=Words(
                "Both amounts stay booked, and nobody is told: after you returned one, note it here.",
                "両方の入金の記録が残り、何も通知されません。返金したら、ここにメモを残してください。",
            ),
        ),
        ReviewReason.PAID_AFTER_CANCEL: _explained(
            Words("paid after a payment had been taken back", "取消後の別の入金"),
            Words(
                "A payment of this had been taken back, and now another slip of it was paid. It is booked and "
                "ships nothing until you decide.",
                "入金取消のあったお支払いに、別の払込票で入金がありました。計上しましたが、判断があるまで出荷されません。",
            ),
            Words(
                "Whether the customer still wants the goods, and whether they left the first time.",
                "お客様がまだ商品を希望しているか、最初の入金で出荷していないかを確認してください。",
            ),
            ignored=_SHIPS_NEVER,
        ),
        ReviewReason.PAID_AFTER_CLOSE: _explained(
            Words("paid after the shop had closed it", "受付終了後の入金"),
            Words(
                "The shop had closed the payment, and its slip was paid nevertheless. It is booked and ships "
                "nothing until you decide.",
                "ショップが受付を終了したあとに、払込票で入金がありました。計上しましたが、判断があるまで出荷されません。",
            ),
            Words(
                "Why it was closed, and whether another payment of the same order was paid.",
                "受付終了の理由と、同じ注文の別の支払いに入金がないかを確認してください。",
            ),
            ignored=_SHIPS_NEVER,
        ),
        ReviewReason.AMOUNT_AT_ZEUS: _explained(
            Words("another amount in ZEUS's list", "一覧の金額の相違"),
            Words(
                "ZEUS's list has another amount for this order number than the shop charges. Nothing was taken from it, "
                "and while this is open nothing ships.",
                "ゼウスの一覧の金額が、ショップの請求額と違います。一覧からは何も反映していません。確認が終わるまで出荷可になりません。",
            ),
            Words(
                "The two amounts and ZEUS's screen; and whether the list's columns are the right ones.",
                "両方の金額と売上管理画面を確認してください。一覧の列の指定が正しいかも確認してください。",
            ),
            ignored=Words(
                "Only the question is closed. If money was told of meanwhile, choose received instead: with this the "
                "goods wait for the next notice of it.",
                "確認を終えるだけです。確認中に入金の通知が届いていた場合は「入金済とする」を選んでください。"
                "変更しない場合、次の通知まで出荷可になりません。",
            ),
        ),
        ReviewReason.CANCELLED_AT_ZEUS: _explained(
            Words("cancelled at ZEUS, and no re-issue is known", "再発行の見当たらないキャンセル"),
            Words(
                "ZEUS's list shows キャンセル, and the slip that took its place was not in it. ZEUS tells of neither by "
                "a notice of the old slip.",
                "ゼウスの一覧ではキャンセルですが、代わりの払込票が一覧にありません。キャンセルの通知は届きません。",
            ),
            Words(
                "ZEUS's screen: was it re-issued, and under which order number? A longer list brings it in.",
                "売上管理画面で、再発行の有無とそのオーダー番号を確認してください。期間の長い一覧を照合すると反映されます。",
            ),
        ),
        ReviewReason.PAID_WHILE_STOPPED: _explained(
            Words("paid after the service was stopped", "番組停止（停止後の入金）"),
            Words(
                "ZEUS's list shows 番組停止: the customer paid after the service had been stopped. No notice and no mail "
                "tells of that, and it is not booked.",
                "ゼウスの一覧では番組停止です。サービス停止後に入金があったもので、通知もメールも届かず、計上していません。",
            ),
            Words(
                "Ask ZEUS whether the money will be paid to you or back to the customer.",
                "その入金がショップに支払われるのか、お客様に返金されるのかを、ゼウスに確認してください。",
            ),
        ),
        ReviewReason.MONEY_NOT_AT_ZEUS: _explained(
            Words("money of which ZEUS's list knows nothing", "一覧にない入金"),
            Words(
                "A notice told of money, and ZEUS's list, which is younger, does not show it. The money stays booked. "
                "A stranger may have sent the notice.",
                "入金の通知が届いていますが、その後に作られたゼウスの一覧には入金がありません。"
                "入金の記録は残しています。第三者からの通知かもしれません。",
            ),
            Words(
                "ZEUS's screen before goods leave; and that ZEUS_CVS_CALLBACK_IPS has ZEUS's addresses only.",
                "出荷の前に売上管理画面を確認してください。ZEUS_CVS_CALLBACK_IPSがゼウスのアドレスだけかも確認してください。",
            ),
        ),
    }
)
