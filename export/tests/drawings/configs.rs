//! Configs of the tiny and of the real model, as much as a drawing reads.

use kandinsky_export::arch::Network;
use serde_json::{Value, json};

/// Every kind of network.
pub const KINDS: [Network; 7] = [
    Network::TextEncoder,
    Network::ImageEncoder,
    Network::MultilingualEncoder,
    Network::Prior,
    Network::Unet,
    Network::InpaintUnet,
    Network::Movq,
];

/// A model of the full topology with small sides.
pub fn tiny(kind: Network) -> Value {
    match kind {
        Network::TextEncoder => json!({
            "vocab_size": 50, "max_position_embeddings": 77, "hidden_size": 24, "projection_dim": 20,
            "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 64,
            "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "eos_token_id": 2,
        }),
        Network::ImageEncoder => json!({
            "num_channels": 3, "image_size": 28, "patch_size": 7, "hidden_size": 48, "projection_dim": 24,
            "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
            "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        }),
        Network::MultilingualEncoder => json!({
            "vocab_size": 60, "max_position_embeddings": 80, "pad_token_id": 1, "type_vocab_size": 1,
            "hidden_size": 40, "transformerDimensions": 40, "numDims": 24, "num_hidden_layers": 2,
            "num_attention_heads": 5, "intermediate_size": 96, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        }),
        Network::Prior => json!({
            "num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 3, "embedding_dim": 24,
            "num_embeddings": 77, "additional_embeddings": 4, "encoder_hid_proj_type": "linear",
        }),
        Network::Unet => unet(4, &[16, 32, 40], 1, [8, 8, 24, 40]),
        Network::InpaintUnet => unet(9, &[16, 32, 40], 1, [8, 8, 24, 40]),
        Network::Movq => movq(&[32, 32, 64], 1, 64),
    }
}

/// Kandinsky 2.1 itself.
pub fn full(kind: Network) -> Value {
    match kind {
        Network::TextEncoder => json!({
            "vocab_size": 49408, "max_position_embeddings": 77, "hidden_size": 768, "projection_dim": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "eos_token_id": 2,
        }),
        Network::ImageEncoder => json!({
            "num_channels": 3, "image_size": 224, "patch_size": 14, "hidden_size": 1024,
            "projection_dim": 768, "num_hidden_layers": 24, "num_attention_heads": 16,
            "intermediate_size": 4096, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        }),
        Network::MultilingualEncoder => json!({
            "vocab_size": 250_002, "max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1,
            "hidden_size": 1024, "transformerDimensions": 1024, "numDims": 768, "num_hidden_layers": 24,
            "num_attention_heads": 16, "intermediate_size": 4096, "hidden_act": "gelu",
            "layer_norm_eps": 1e-5,
        }),
        Network::Prior => json!({
            "num_attention_heads": 32, "attention_head_dim": 64, "num_layers": 20, "embedding_dim": 768,
            "num_embeddings": 77, "additional_embeddings": 4, "norm_in_type": null,
        }),
        Network::Unet => unet(4, &[384, 768, 1152, 1536], 3, [64, 32, 768, 1024]),
        Network::InpaintUnet => unet(9, &[384, 768, 1152, 1536], 3, [64, 32, 768, 1024]),
        Network::Movq => movq(&[128, 256, 256, 512], 2, 16384),
    }
}

/// Fields of a config that have to be there.
pub fn required(kind: Network) -> Vec<String> {
    let optional =
        ["additional_embeddings", "encoder_hid_proj_type", "flip_sin_to_cos", "act_fn", "vq_embed_dim"];
    let config = tiny(kind);
    let fields = config.as_object().unwrap().keys().cloned();
    fields.filter(|field| !optional.contains(&field.as_str())).collect()
}

fn unet(inputs: usize, channels: &[usize], layers: usize, [head, groups, cross, text]: [usize; 4]) -> Value {
    let inner = channels.len() - 1;
    let down: Vec<&str> = std::iter::once("ResnetDownsampleBlock2D")
        .chain(std::iter::repeat_n("SimpleCrossAttnDownBlock2D", inner))
        .collect();
    let up: Vec<&str> = std::iter::repeat_n("SimpleCrossAttnUpBlock2D", inner)
        .chain(std::iter::once("ResnetUpsampleBlock2D"))
        .collect();
    json!({
        "in_channels": inputs, "out_channels": 8, "block_out_channels": channels, "layers_per_block": layers,
        "down_block_types": down, "up_block_types": up, "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "attention_head_dim": head, "norm_num_groups": groups, "norm_eps": 1e-5,
        "cross_attention_dim": cross, "encoder_hid_dim": text, "encoder_hid_dim_type": "text_image_proj",
        "addition_embed_type": "text_image", "resnet_time_scale_shift": "scale_shift",
        "flip_sin_to_cos": true,
    })
}

fn movq(channels: &[usize], layers: usize, codes: usize) -> Value {
    let levels = channels.len();
    let mut down = vec!["DownEncoderBlock2D"; levels];
    let mut up = vec!["UpDecoderBlock2D"; levels];
    down[levels - 1] = "AttnDownEncoderBlock2D";
    up[0] = "AttnUpDecoderBlock2D";
    json!({
        "in_channels": 3, "out_channels": 3, "block_out_channels": channels, "layers_per_block": layers,
        "down_block_types": down, "up_block_types": up, "latent_channels": 4, "vq_embed_dim": 4,
        "num_vq_embeddings": codes, "norm_num_groups": 32, "norm_type": "spatial", "act_fn": "silu",
    })
}
