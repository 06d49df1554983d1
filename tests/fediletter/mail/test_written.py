"""A person's own words out of what their program sends: the habits of many of them, in a table."""

# ruff: noqa: E501 (what programs write, as they write it)

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from fediletter.mail.written import read_letter, without_quotes

OWN = "Merci pour le lin.\n\nÀ bientôt !"
QUOTED = "> Bonjour,\n> voici le lin.\n>\n> -- \n> Atelier"

ABOVE = {
    "gmail": f"{OWN}\n\nOn Tue, Nov 24, 2026 at 9:12 AM Atelier <news@shop.test> wrote:\n\n{QUOTED}",
    "gmail, folded": f"{OWN}\n\nOn Tue, Nov 24, 2026 at 9:12 AM Atelier Rivière de Normandie <\n"
    f"news@shop.test> wrote:\n\n{QUOTED}",
    "gmail, french": f"{OWN}\n\nLe mar. 24 nov. 2026 à 09:12, Atelier <news@shop.test> a écrit :\n\n"
    f"{QUOTED}",
    "gmail, french, folded and with narrow spaces": f"{OWN}\n\nLe mar. 24 nov. 2026 à\u202f09:12, "
    f"Atelier Rivière <news@shop.test> a\nécrit\u00a0:\n\n{QUOTED}",
    "apple mail": f"{OWN}\n\n> On 24 Nov 2026, at 09:12, Atelier <news@shop.test> wrote:\n> \n{QUOTED}",
    "apple mail, french": f"{OWN}\n\n> Le 24 nov. 2026 à 09:12, Atelier <news@shop.test> a écrit :\n"
    f"> \n{QUOTED}",
    "iphone": f"{OWN}\n\nEnvoyé de mon iPhone\n\n> Le 24 nov. 2026 à 09:12, Atelier "
    f"<news@shop.test> a écrit :\n> \n> \ufeff\n{QUOTED}",
    "iphone, english": f"{OWN}\n\nSent from my iPhone\n\nOn 24 Nov 2026, at 09:12, Atelier "
    f"<news@shop.test> wrote:\n\n\ufeff{QUOTED}",
    "thunderbird": f"{OWN}\n\nOn 24/11/2026 09:12, Atelier wrote:\n{QUOTED}",
    "thunderbird, french": f"{OWN}\n\nLe 24/11/2026 à 09:12, Atelier a écrit :\n{QUOTED}",
    "thunderbird, german": f"{OWN}\n\nAm 24.11.26 um 09:12 schrieb Atelier:\n{QUOTED}",
    "outlook": f"{OWN}\n\n________________________________\nFrom: Atelier <news@shop.test>\n"
    "Sent: Tuesday, November 24, 2026 9:12 AM\nTo: Ana <ana@x.test>\nSubject: Du lin\n\nBonjour,\n"
    "voici le lin.",
    "outlook, french": f"{OWN}\n\n________________________________\nDe : Atelier <news@shop.test>\n"
    "Envoyé : mardi 24 novembre 2026 09:12\nÀ : Ana <ana@x.test>\nObjet : Du lin\n\nBonjour,",
    "outlook, desktop": f"{OWN}\n\n-----Message d'origine-----\nDe\u00a0: Atelier <news@shop.test>\n"
    "Envoyé\u00a0: mardi 24 novembre 2026 09:12\nÀ\u00a0: Ana\nObjet\u00a0: Du lin\n\nBonjour,",
    "outlook, phone, no line": f"{OWN}\n\nTélécharger Outlook pour iOS<https://aka.ms/o0ukef>\n"
    "________________________________\nDe : Atelier <news@shop.test>\nEnvoyé : mardi 24 novembre\n"
    "À : Ana <ana@x.test>\nObjet : Du lin\n\nBonjour,",
    "outlook, headers in stars": f"{OWN}\n\n*De :* Atelier <news@shop.test>\n*Envoyé :* mardi 24 "
    "novembre 2026 09:12\n*À :* Ana\n*Objet :* Du lin\n\nBonjour,",
    "orange": f'{OWN}\n\n> Message du 24/11/26 09:12\n> De : "Atelier" <news@shop.test>\n'
    '> A : "Ana" <ana@orange.test>\n> Copie à : \n> Objet : Du lin\n>\n> Bonjour,',
    "orange, no marks": f"{OWN}\n\nenvoyé : 24 novembre 2026 à 09:12\nde : Atelier <news@shop.test>\n"
    "à : ana@orange.test\nobjet : Du lin\n\nBonjour,",
    "la poste, zimbra": f'{OWN}\n\nDe: "Atelier" <news@shop.test>\nÀ: "Ana" <ana@free.test>\n'
    "Envoyé: Mardi 24 Novembre 2026 09:12:00\nObjet: Du lin\n\nBonjour,",
    "yahoo, french": f"{OWN}\n\n    Le mardi 24 novembre 2026 à 09:12:00 UTC+1, Atelier "
    f"<news@shop.test> a écrit :  \n \n Bonjour,\nvoici le lin.",
    "protonmail": f"{OWN}\n\nSent with Proton Mail secure email.\n\nOn Tuesday, November 24th, 2026 at "
    f"9:12 AM, Atelier <news@shop.test> wrote:\n\n{QUOTED}",
    "samsung": f"{OWN}\n\nEnvoyé depuis mon appareil Galaxy\n\n\n-------- Message d'origine --------\n"
    "De : Atelier <news@shop.test>\nDate : 24/11/2026 09:12 (GMT+01:00)\nÀ : ana@x.test\n"
    "Objet : Du lin\n\nBonjour,",
    "signature": f"{OWN}\n-- \nAna Moulin\n06 12 34 56 78",
    "mobile, english": f"{OWN}\n\nSent from my Samsung Galaxy smartphone.\n",
    "mobile, outlook": f"{OWN}\n\nGet Outlook for Android\n",
    "mobile, k-9": f"{OWN}\n-- \nEnvoyé de mon appareil Android avec Courriel K-9 Mail.\n",
    "bottom posting": "On 24/11/2026 09:12, Atelier wrote:\n> Bonjour,\n> voici le lin.\n\n" + OWN,
    "bottom posting, french": f"Le 24/11/2026 à 09:12, Atelier a écrit :\n{QUOTED}\n\n{OWN}",
    "crlf": f"{OWN}\n\nLe 24/11/2026 à 09:12, Atelier a écrit :\n{QUOTED}".replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", ABOVE)
def test_a_persons_words_stay_and_what_they_answer_goes(name):
    assert without_quotes(ABOVE[name].replace("\r\n", "\n")) == OWN


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("> Un sac en lin ?\nOui.\n\n> Et en cuir ?\nNon.", "Oui.\n\nNon."),
        ("Il a écrit : bonjour.\nEt moi aussi.", "Il a écrit : bonjour.\nEt moi aussi."),
        ("Le lin, c'est ce que ma mère a écrit :\nun poème.", None),
        ("From: Paris\nI write to you.", None),
        ("De : ma part, merci.\nÀ : demain.", None),
        ("On peut dire ce qu'on veut.\nOn verra.", None),
        ("Envoyé de mon iPhone, ce mail a des fautes.\nPardon.", None),
        ("> tout cité", "> tout cité"),
        ("", ""),
        ("un\n\n\n\n\ndeux", "un\n\ndeux"),
    ],
)
def test_words_between_quotes_stay_and_prose_is_no_quote(text, kept):
    assert without_quotes(text) == (text if kept is None else kept)


MARKUP = {
    "gmail": '<div dir="ltr">{own}</div><br><div class="gmail_quote"><div class="gmail_attr">Le mar.'
    " 24 nov. Atelier a écrit :<br></div><blockquote>Bonjour</blockquote></div>",
    "outlook": '<div>{own}</div><div id="divRplyFwdMsg"><b>De :</b> Atelier<br><b>Envoyé :</b> mardi'
    "</div><div>Bonjour</div>",
    "outlook, desktop": "<p>{own}</p><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:"
    "3.0pt 0cm 0cm 0cm'><p><b>De :</b> Atelier &lt;news@shop.test&gt; <br><b>Envoyé :</b> mardi 24"
    "<br><b>À :</b> Ana<br><b>Objet :</b> Du lin</p></div><p>Bonjour</p>",
    "apple mail": '<div>{own}</div><div><br><blockquote type="cite"><div>Le 24 nov., Atelier a écrit'
    " :</div><div>Bonjour</div></blockquote></div>",
    "thunderbird": '<p>{own}</p><div class="moz-cite-prefix">Le 24/11/2026, Atelier a écrit :</div>'
    '<blockquote type="cite" cite="mid:x">Bonjour</blockquote>',
    "yahoo": '<div>{own}</div><div id="yahoo_quoted_1" class="yahoo_quoted"><div>Le mardi, Atelier a '
    "écrit :</div><div>Bonjour</div></div>",
    "protonmail": '<div>{own}</div><div class="protonmail_quote">Le mardi, Atelier a écrit :<br>'
    '<blockquote class="protonmail_quote" type="cite">Bonjour</blockquote></div>',
    "zimbra": '<div>{own}</div><hr id="zwchr" data-marker="__DIVIDER__"><div><b>De: </b>Atelier<br>'
    "<b>À: </b>Ana<br><b>Envoyé: </b>Mardi<br></div><div>Bonjour</div>",
}


@pytest.mark.parametrize("name", MARKUP)
def test_a_mail_of_html_alone_is_read_alike(name):
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["Message-ID"] = "Ana <ana@x.test>", "<1@x.test>"
    message.set_content(MARKUP[name].replace("{own}", "J’aime le lin."), subtype="html")
    raw = message.as_bytes()

    found = read_letter(message_from_bytes(raw, policy=policy.compat32), raw)

    assert "J’aime le lin." in found.content
    assert "Bonjour" not in found.content
    assert "écrit" not in found.content
    assert "Envoy" not in found.content


def test_hostile_lengths_cost_no_time():
    for text in (
        "On " + "x " * 50_000 + "wrote:",
        "\n".join(["On x wrote"] * 10_000),
        "Le " * 30_000,
        ("_" * 19 + "\n") * 5_000,
        "From: " * 20_000 + "\nSent:",
        "-" * 100_000,
    ):
        without_quotes(text[:131_072])
