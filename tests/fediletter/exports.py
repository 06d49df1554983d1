"""Lists as other programs give them: the columns that they document, people whom nobody is.

Written by hand, in each program's own delimiter, line ends and habits:

* Mailchimp: "View or export contacts" and "About your contact export", mailchimp.com/help. A zip of
  a CSV for each state; TAGS is a quoted list within its cell; times without a zone.
* Substack: "How do I export my posts and subscribers?", support.substack.com. A zip of the list and
  two files for each post, whose `opens` hold addresses too.
* Ghost: "Exporting members", ghost.org/help, and `members-csv-export` in TryGhost/Ghost.
* listmonk: `exportSubscribers` in knadh/listmonk, `cmd/subscribers.go`: attributes are JSON.
* Buttondown: "Exporting your data", docs.buttondown.com, and the field names of its OpenAPI file.
* Brevo: "Export your contacts", help.brevo.com: parted by `;`, ends of lines as on Windows, in a
  French account.
"""

import io
import json
import zipfile

_MAILCHIMP = (
    '"Email Address","First Name","Last Name",MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,'
    "CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED"
)
_MAILCHIMP_END = ",LEID,EUID,NOTES,TAGS\n"
_PLACE = "48.86,2.35,1,2,Europe/Paris,FR,IDF"


def _mailchimp(address: str, extra: str = "", tags: str = "") -> str:
    return (
        f'{address},Ana,Rivière,3,"2021-03-04 09:10:11",203.0.113.9,"2021-03-04 09:12:00",'
        f'203.0.113.9,{_PLACE},"2024-05-06 07:08:09"{extra},123,abc,,{tags}\n'
    )


MAILCHIMP = {
    "subscribed_email_audience_export_1a2b3c.csv": _MAILCHIMP
    + _MAILCHIMP_END
    + _mailchimp("mc-active@example.org", tags='"""Lin"",""VIP"""')
    + _mailchimp("mc-both@example.org"),
    "unsubscribed_email_audience_export_1a2b3c.csv": _MAILCHIMP
    + ",UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON,UNSUB_REASON_OTHER"
    + _MAILCHIMP_END
    + _mailchimp("mc-left@example.org", ',"2022-01-02 03:04:05","Soldes",42,NORMAL,')
    + _mailchimp("mc-both@example.org", ',"2022-01-02 03:04:05","Soldes",42,NORMAL,'),
    "cleaned_email_audience_export_1a2b3c.csv": _MAILCHIMP
    + ",CLEAN_TIME,CLEAN_CAMPAIGN_TITLE,CLEAN_CAMPAIGN_ID"
    + _MAILCHIMP_END
    + _mailchimp("mc-dead@example.org", ',"2022-02-03 04:05:06","Soldes",42'),
    "nonsubscribed_email_audience_export_1a2b3c.csv": _MAILCHIMP
    + _MAILCHIMP_END
    + _mailchimp("mc-buyer@example.org"),
}

SUBSTACK = {
    "email_list.atelier.csv": (
        "email,active_subscription,expiry,plan,email_disabled,created_at,first_payment_at\n"
        "sub-free@example.org,false,,other,false,2023-04-05T06:07:08.123Z,\n"
        "sub-paid@example.org,true,2027-01-01T00:00:00.000Z,yearly,false,2022-04-05T06:07:08.123Z,"
        "2022-05-05T06:07:08.123Z\n"
        "sub-left@example.org,false,,other,true,2021-04-05T06:07:08.123Z,\n"
    ),
    "posts.csv": "post_id,post_date,is_published,title\n1.lin,2023-01-01T00:00:00Z,true,Du lin\n",
    "posts/1.lin.html": "<p>Du lin</p>",
    "posts/1.lin.opens.csv": "post_id,timestamp,email\n1,2023-01-01T00:00:00Z,opened@example.org\n",
    "posts/1.lin.delivers.csv": "post_id,timestamp,email\n1,2023-01-01T00:00:00Z,got@example.org\n",
}

GHOST = (
    "id,email,name,note,subscribed_to_emails,complimentary_plan,stripe_customer_id,created_at,"
    "deleted_at,labels,tiers\r\n"
    "624d445026833200a5801bce,ghost-in@example.org,Ana,,true,false,,2022-04-06T07:42:08.000Z,,"
    '"Lin,VIP",\r\n'
    "624d445026833200a5801bcf,ghost-out@example.org,,,false,false,,2022-04-06T07:42:08.000Z,,,\r\n"
    "624d445026833200a5801bd0,ghost-gone@example.org,,,true,false,,2022-04-06T07:42:08.000Z,"
    "2023-04-06T07:42:08.000Z,,\r\n"
)

_ATTRIBUTES = json.dumps({"city": "Lille", "language": "en"}).replace('"', '""')
LISTMONK = (
    "uuid,email,name,attributes,status,created_at,updated_at\n"
    f'5e6d8f5e-0000-4000-8000-000000000001,lm-in@example.org,Ana,"{_ATTRIBUTES}",enabled,'
    "2023-01-02T03:04:05.678901+01:00,2023-02-02T03:04:05.678901+01:00\n"
    "5e6d8f5e-0000-4000-8000-000000000002,lm-off@example.org,Ben,{},disabled,"
    "2023-01-02T03:04:05.678901+01:00,2023-02-02T03:04:05.678901+01:00\n"
    "5e6d8f5e-0000-4000-8000-000000000003,lm-no@example.org,Eve,{},blocklisted,"
    "2023-01-02T03:04:05.678901+01:00,2023-02-02T03:04:05.678901+01:00\n"
)

_BUTTONDOWN = "2024-01-02T03:04:05.678901Z"
BUTTONDOWN = (
    "email_address,notes,metadata,tags,type,creation_date,unsubscription_date,"
    "undeliverability_date,referrer_url,secondary_id\n"
    f'bd-in@example.org,,{{}},"Lin, VIP",regular,{_BUTTONDOWN},,,,1\n'
    f"bd-paid@example.org,,{{}},,premium,{_BUTTONDOWN},,,,2\n"
    f"bd-wait@example.org,,{{}},,unactivated,{_BUTTONDOWN},,,,3\n"
    f"bd-left@example.org,,{{}},,unsubscribed,{_BUTTONDOWN},{_BUTTONDOWN},,,4\n"
    f"bd-dead@example.org,,{{}},,undeliverable,{_BUTTONDOWN},,{_BUTTONDOWN},,5\n"
    f"bd-angry@example.org,,{{}},,complained,{_BUTTONDOWN},,,,6\n"
)

BREVO = (
    "CONTACT ID;EMAIL;NOM;PRENOM;SMS;EMAIL_BLACKLISTED;SMS_BLACKLISTED;ADDED_TIME;MODIFIED_TIME\r\n"
    "1;br-in@example.org;Rivière;Ana;33600000000;No;No;04-05-2023 16:17;05-05-2023 10:00\r\n"
    "2;br-out@example.org;Été;Ève;;Yes;No;25-12-2022 08:09;05-05-2023 10:00\r\n"
)


def zipped(files: dict[str, str | bytes]) -> bytes:
    """An archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# Name of the source, of the file, its octets, and what becomes of each address that is in it.
LISTS = {
    "Mailchimp": (
        "audience_export_1a2b3c.zip",
        zipped(MAILCHIMP),
        {
            "mc-active@example.org": "active",
            "mc-both@example.org": "left",
            "mc-left@example.org": "left",
            "mc-dead@example.org": "suppressed",
        },
    ),
    "Substack": (
        "substack.zip",
        zipped(SUBSTACK),
        {
            "sub-free@example.org": "active",
            "sub-paid@example.org": "active",
            "sub-left@example.org": "left",
        },
    ),
    "Ghost": (
        "members.csv",
        GHOST.encode(),
        {
            "ghost-in@example.org": "active",
            "ghost-out@example.org": "left",
            "ghost-gone@example.org": "left",
        },
    ),
    "listmonk": (
        "subscribers.csv",
        LISTMONK.encode(),
        {
            "lm-in@example.org": "active",
            "lm-off@example.org": "left",
            "lm-no@example.org": "left",
        },
    ),
    "Buttondown": (
        "subscribers-2024.csv",
        BUTTONDOWN.encode("utf-8-sig"),
        {
            "bd-in@example.org": "active",
            "bd-paid@example.org": "active",
            "bd-wait@example.org": "pending",
            "bd-left@example.org": "left",
            "bd-dead@example.org": "suppressed",
            "bd-angry@example.org": "left",
        },
    ),
    "Brevo": (
        "contacts.csv",
        BREVO.encode("cp1252"),
        {"br-in@example.org": "active", "br-out@example.org": "left"},
    ),
}
