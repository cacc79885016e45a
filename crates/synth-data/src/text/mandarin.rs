//! The Mandarin sentences, in simplified characters; spaces part the words and are not written.

use super::{grammar::Grammar, spelling::Spelling};

pub(crate) const GRAMMAR: Grammar = Grammar {
    spelling: Spelling::Mandarin,
    slots: &[
        ("hello", &["你好", "您好", "早上 好", "晚上 好", "欢迎"]),
        (
            "person",
            &[
                "朋友", "妈妈", "爸爸", "哥哥", "姐姐", "老师", "医生", "孩子",
            ],
        ),
        (
            "someone",
            &[
                "我",
                "你",
                "他",
                "她",
                "我们",
                "他们",
                "我 {person}",
                "{person}",
            ],
        ),
        (
            "whose",
            &["我 的", "你 的", "他 的", "她 的", "我们 的", "老师 的"],
        ),
        (
            "number",
            &["一", "二", "三", "四", "五", "六", "七", "八", "九", "十"],
        ),
        (
            "many",
            &["一", "两", "三", "四", "五", "六", "七", "八", "九", "十"],
        ),
        ("color", &["红色", "蓝色", "白色", "黑色", "绿色"]),
        ("very", &["很", "不", "太", "真"]),
        ("adjective", &["大", "小", "好", "新", "漂亮"]),
        ("feeling", &["高兴", "忙", "累", "好", "漂亮"]),
        ("weather", &["冷", "热", "好"]),
        (
            "thing",
            &["书", "车", "门", "桌子", "电话", "画", "房子", "花"],
        ),
        ("animal", &["狗", "猫", "鸟", "鱼", "马"]),
        ("place", &["家", "学校", "城市", "北京", "中国", "花园"]),
        ("goal", &["学校", "城市", "北京", "中国", "花园"]),
        ("friend", &["朋友", "孩子", "老师", "医生", "哥哥", "姐姐"]),
        ("drink", &["水", "茶", "咖啡", "牛奶"]),
        ("when", &["今天", "明天", "现在", "早上", "晚上"]),
        ("nature", &["天气", "太阳", "月亮", "风", "雨"]),
        ("sound", &["音乐", "歌", "声音"]),
        ("do", &["喜欢", "要", "有", "爱"]),
        (
            "act",
            &[
                "看 书",
                "听 音乐",
                "喝 {drink}",
                "唱 歌",
                "说话",
                "写 字",
                "回 家",
                "去 {goal}",
                "买 {thing}",
                "学习",
                "开 门",
            ],
        ),
        ("can", &["想", "要", "会", "可以", "喜欢"]),
    ],
    templates: &[
        "{hello} ， 我 是 {person} 。",
        "{hello} ， 你 {when} 好 吗 ？",
        "{hello} ， {someone} 在 {place} 。",
        "你好 ， 世界 ， 这 是 {whose} {thing} 。",
        "这 是 {whose} {thing} 。",
        "那 是 {whose} {color} 的 {thing} 。",
        "这 是 {adjective} {thing} 吗 ？",
        "{whose} {thing} {very} {adjective} 。",
        "{whose} {thing} 在 {place} 。",
        "{whose} {animal} {when} {very} {feeling} 。",
        "{whose} {animal} 在 {place} 。",
        "{color} 的 {thing} {very} {adjective} 。",
        "{color} 的 {animal} {very} {feeling} 。",
        "{someone} {when} {very} {feeling} 。",
        "{someone} {when} 在 {place} {act} 。",
        "{someone} {when} {can} {act} 。",
        "{when} {someone} {can} {act} 。",
        "{when} {someone} {can} {act} 吗 ？",
        "{someone} {can} 去 {goal} {act} 。",
        "{someone} {do} {color} 的 {thing} 。",
        "{someone} {do} {whose} {thing} 。",
        "{someone} 有 {many} 个 {friend} 。",
        "{place} 有 {many} 个 {friend} 。",
        "{someone} 不 {can} {act} 。",
        "{someone} 和 {person} 在 {place} {act} 。",
        "{when} {nature} {very} {weather} 。",
        "{when} 的 {nature} {very} 好 。",
        "{place} 的 {nature} {very} {weather} 。",
        "谢谢 你 的 {thing} ， {person} 。",
        "谢谢 ， 我 {do} {drink} 。",
        "请 {when} {act} ， 谢谢 。",
        "请 和 {person} {act} 。",
        "{whose} {sound} {very} 好 听 。",
        "{someone} 听 {whose} {sound} 。",
        "{when} 你 去 {goal} 吗 ？",
        "{number} ， {number} ， {number} ， {number} 。",
        "{someone} 的 {person} 在 哪里 ？",
        "{someone} 什么 时候 {act} ？",
    ],
};

/// What newcomers try first; every speaker says each of them in the training set.
pub(crate) const COMMON: &[&str] = &[
    "你好，世界。",
    "你好，我的朋友。",
    "早上好，老师。",
    "谢谢你，我的朋友。",
    "这是我的声音。",
    "我喜欢音乐。",
    "今天天气很好。",
    "一，二，三。",
];

/// What the reference recordings of the training set say.
pub(crate) const REFERENCES: &[&str] = &[
    "老师你好。",
    "今天很冷。",
    "我的朋友。",
    "红色的花。",
    "太阳很大。",
    "他喜欢茶。",
    "妈妈在家。",
    "我去学校。",
    "三个孩子。",
    "请喝茶。",
    "你想看书吗？",
    "晚上听歌。",
];

/// What the reference recordings of the test set say.
pub(crate) const TEST_REFERENCES: &[&str] =
    &["白色的猫。", "明天不热。", "他们唱歌。", "月亮很大。"];
