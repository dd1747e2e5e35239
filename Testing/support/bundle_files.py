"""The folder of a MONAI bundle, as small as can be, whose configuration a test may change."""

from __future__ import annotations

import json

ARGUMENTS = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "norm": "batch",
}
CONFIG = {
    "spacing": [1.5, 1.5, 2.0],
    "dangerous_elsewhere": "$__import__('os').system('touch hacked')",
    "network_def": {"_target_": "UNet", **ARGUMENTS},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "$@key"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "LAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": "@spacing", "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -57,
                "a_max": 164,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 4, "overlap": 0.5},
}
METADATA = {
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "modality": "CT"}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "spleen", "2": "liver"}}},
    }
}


def network():
    """The network of its configuration, with weights at random."""
    import torch
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    return UNet(**ARGUMENTS)


def bundle(folder, change=None, weights=None):
    """The folder of a bundle, its configuration changed."""
    config, metadata = json.loads(json.dumps([CONFIG, METADATA]))
    if change:
        change(config, metadata)
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    if weights is None:
        import torch

        torch.save(network().state_dict(), folder / "models/model.pt")
    else:
        (folder / "models/model.pt").write_bytes(weights)
    return folder
