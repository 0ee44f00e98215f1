"""Models of other libraries, by what stands before the colon: `torchvision:resnet18`, `timm:NAME`, `hf:FOLDER`."""
