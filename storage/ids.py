"""Types of row ids, so that one cannot be passed for another."""

from typing import NewType

ActorId = NewType("ActorId", int)
ActivityId = NewType("ActivityId", int)
DeliveryId = NewType("DeliveryId", int)
FanOutId = NewType("FanOutId", int)
FounderId = NewType("FounderId", int)
InboxId = NewType("InboxId", int)
LaneId = NewType("LaneId", int)
MailingId = NewType("MailingId", int)
MediaId = NewType("MediaId", int)
NoticeId = NewType("NoticeId", int)
PostId = NewType("PostId", int)
ReceivedId = NewType("ReceivedId", int)
RemoteActorId = NewType("RemoteActorId", int)
ReplyId = NewType("ReplyId", int)
SubscriberId = NewType("SubscriberId", int)
TopicId = NewType("TopicId", int)
WorkerId = NewType("WorkerId", int)
