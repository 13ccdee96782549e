"""What the shop sells."""

from __future__ import annotations

from sqlalchemy import select

from example_shop.database import Product, db

#: slug, name, one line, description, price in yen, pieces on the shelf. A picture of each is in ``static/goods``.
GOODS: tuple[tuple[str, str, str, str, int, int], ...] = (
    (
        "sencha",
        "煎茶「朝霧」",
        "100g・袋入り",
        "山あいの畑で育てた一番茶を、浅めに蒸しました。七十度ほどのお湯で一分。澄んだ香りと、あとに残るやさしい甘みをどうぞ。",
        1296,
        24,
    ),
    (
        "hojicha",
        "ほうじ茶ティーバッグ",
        "3g × 15包",
        "茎の多い葉を、注文の多い週でも毎回小さな釜で焙じています。熱湯で三十秒。夜にも飲みやすい、香ばしい一杯です。",
        756,
        30,
    ),
    (
        "matcha",
        "抹茶「松風」",
        "30g・缶入り",
        "石臼でゆっくり挽いた、薄茶向けの抹茶です。茶こしで一度ふるってから点てると、きめ細かな泡が立ちます。",
        2160,
        12,
    ),
    (
        "kyusu",
        "急須 朱泥",
        "容量 280ml",
        "手びねりの横手急須。細かな陶製の茶こしが内側に一体になっていて、深蒸しの葉でも詰まりません。使うほどに艶が出ます。",
        6800,
        5,
    ),
    (
        "yunomi",
        "粉引の湯呑み",
        "一客・180ml",
        "白い化粧土をかけて焼いた、手におさまる湯呑みです。一つずつ手作りのため、釉薬の流れが少しずつ異なります。",
        2420,
        10,
    ),
    (
        "tenugui",
        "手ぬぐい「茶の実」",
        "綿100%・約33 × 90cm",
        "茶の実と花を、昔ながらの注染で染めました。茶巾にも、贈り物の包みにも。洗うたびにやわらかくなります。",
        1320,
        18,
    ),
)


def stock_up() -> None:
    """Create the tables that are missing, the extension's too, and put new goods on the shelves. Commits."""
    db.create_all()
    known = set(db.session.scalars(select(Product.slug)))
    for slug, name, blurb, description, price, stock in GOODS:
        if slug not in known:
            db.session.add(
                Product(slug=slug, name=name, blurb=blurb, description=description, price=price, stock=stock)
            )
    db.session.commit()
